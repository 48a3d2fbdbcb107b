"""Networks, and the arithmetic of losses."""
