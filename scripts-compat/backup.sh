#!/bin/sh
# Saves a set. As before, creates the repositories where none was there; refuses where one may have vanished.
[ $# -gt 0 ] || set -- --init
exec /usr/local/bin/backup "$@"
