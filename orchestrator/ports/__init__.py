"""What the service needs from outside, as small abstract classes. Adapters implement them."""
