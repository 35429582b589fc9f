# The file store needs nothing but libc.
