"""Everything outside, behind the ports."""
