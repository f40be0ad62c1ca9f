"""Pages of sites and labels, and of where devices are."""
