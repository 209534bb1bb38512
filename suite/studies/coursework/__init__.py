"""What two courses ask: questions answered from the tables of the other studies."""
