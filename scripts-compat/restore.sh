#!/bin/sh
# Restores the newest set, or what is named: SET, or old snapshots as before: DATABASE FILES, or ROLES DATABASE FILES.
exec /usr/local/bin/restore "$@"
