"""What benches/peers/run is made of."""
