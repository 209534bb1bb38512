"""Attribution methods, one file each, by hand; no Captum inside."""
