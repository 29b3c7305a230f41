"""What each RPC does, in terms of the domain and its ports. Knows nothing of gRPC."""
