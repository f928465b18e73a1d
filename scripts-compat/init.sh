#!/usr/bin/env bash
# Placeholder.
exec /usr/local/bin/init "$@"
