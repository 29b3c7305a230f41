"""The reasoning layer: claims a step, routes, infers, commits; holds nothing between steps."""
