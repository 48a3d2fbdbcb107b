"""What families of algorithms share, front and implementation."""
