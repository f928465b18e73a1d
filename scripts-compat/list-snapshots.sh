#!/bin/sh
# Lists the sets, and the snapshots of the image before this one.
exec /usr/local/bin/restore --list "$@"
