"""What the network says of each photo; part of every run."""
