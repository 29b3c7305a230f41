"""The gRPC surface. The only package that sees grpc and protobuf."""
