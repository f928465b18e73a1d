#!/bin/sh
# Creates the repositories that are missing.
exec /usr/local/bin/init "$@"
