"""The libraries that the suite is checked against, one file each."""
