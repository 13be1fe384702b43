#!/bin/sh
# Lifeboat: puts the agent into the initial RAM disk.
case ${1-} in prereqs) exit 0 ;; esac
. /usr/share/initramfs-tools/hook-functions
[ ! -x /usr/local/sbin/lifeboat-agent ] || copy_exec /usr/local/sbin/lifeboat-agent /sbin/lifeboat-agent || :
exit 0
