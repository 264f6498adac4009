"""Small portraits of random heads with their true shapes, and what a network learns from them."""
