"""A model of the world around the core of parked lanes, and what must hold in it whatever crashes when."""
