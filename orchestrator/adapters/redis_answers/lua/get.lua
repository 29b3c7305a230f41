#!lua
-- needs: _entries
-- KEYS: entries, used, sizes, likenesses, members. ARGV: digest.
return read(ARGV[1])
