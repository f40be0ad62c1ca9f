"""DJI unlock licenses as the docks report them."""
