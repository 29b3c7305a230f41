"""Between protobuf messages and the domain's types."""
