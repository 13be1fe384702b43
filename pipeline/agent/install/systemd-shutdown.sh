#!/bin/sh
# Lifeboat: saves what has changed, when everything is unmounted. No end of the machine fails for it, or waits longer than
# @SECONDS@ seconds.
[ ! -x /usr/local/sbin/lifeboat-agent ] || /usr/local/sbin/lifeboat-agent save @SECONDS@ >/dev/null 2>&1 || :
exit 0
