#!/usr/bin/env bash
# Placeholder.
exec sleep infinity
