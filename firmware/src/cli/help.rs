//! The long texts of `--help`: examples, and what the short lines cannot say.

/// Those of recovery into Azure.
pub(super) mod recovery;
/// Updates.
pub(super) mod update;
/// Users, approvals and calls.
pub(super) mod user;

/// Below the list of verbs.
pub(super) const OVERVIEW: &str = "\
Start:
  lifeboat vault create dir:/srv/vault --key-out vault.key
  lifeboat protect --vault dir:/srv/vault --key-file vault.key --server web1 /dev/sda /dev/sdb
  lifeboat points  --vault dir:/srv/vault --key-file vault.key
  lifeboat restore --vault dir:/srv/vault --key-file vault.key --server web1 --disk sda --to sda.img
  lifeboat verify  --vault dir:/srv/vault --key-file vault.key --deep
  lifeboat send    --token TOKEN --server web1 /dev/sda      through an appliance that has the vault
Each verb's own --help has more, for example lifeboat restore --help.

Words:
  A server is one protected machine; a recovery point holds all its disks at one instant. A vault is
  where points are kept, sealed: a folder (dir:PATH) or a container of Azure Blob Storage
  (azure://ACCOUNT/CONTAINER). The recovery key opens it. Vault and key alone bring everything back,
  on any machine; without the key nobody can, so print the recovery kit and keep it elsewhere.

Elsewhere:
  --remote https://HOST --token-file FILE before a verb runs it on that appliance, with its vault and key; what it
  prints comes back, and so does its exit code.

Azure:
  azure://ACCOUNT/CONTAINER                                   the commercial cloud
  azure://ACCOUNT/CONTAINER?cloud=usgov                       US Government; or cloud=china
  azure://ACCOUNT/CONTAINER?endpoint=http://127.0.0.1:10000/ACCOUNT   anything else that speaks blob

Environment:
  AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING
                               a storage account's key, a shared access signature, or either within
                               a connection string
  AZURE_TENANT_ID, AZURE_CLIENT_ID with AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH
                               an Entra application; without any of these, the managed identity of the
                               machine (AZURE_CLIENT_ID picks one of several)
  LIFEBOAT_AZURE_CLOUD         the cloud of recoveries: public, usgov or china (the vault's, or public)
  LIFEBOAT_AZURE_MANAGEMENT, LIFEBOAT_AZURE_TOKEN
                               another control plane than the cloud's; a token for it instead of the identity above
  LIFEBOAT_PLATFORM            stand-in, where recoveries boot on virtio instead of Hyper-V
  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY
                               a proxy, with user:password@ where it wants them
  LIFEBOAT_CA_FILE             certificate authorities of your own, as PEM, beside the built-in ones
  LIFEBOAT_PASSPHRASE          the passphrase of a sealed key file
  LIFEBOAT_REMOTE, LIFEBOAT_TOKEN
                               the appliance that verbs are run on, and a token of it; a verb that names
                               a vault, and one that can only be run here, is run here
  LIFEBOAT_STATE               where this machine remembers the newest points that it saw, to notice a vault
                               that was rolled back (/var/lib/lifeboat, or ~/.local/state/lifeboat)

Exit codes:
  0  everything asked for was done
  1  it failed; the line on standard error names the object and what to do
  2  the command line was wrong; nothing was started
  3  done but incomplete: blocks that could not be read are missing
  128 and more  stopped by a signal (130: Ctrl-C); run the same command again to resume

Standard output holds the result and nothing else; progress and errors go to standard error.";

/// `vault create`
pub(super) const CREATE: &str = "\
Examples:
  lifeboat vault create dir:/srv/vault --key-out vault.key
  AZURE_STORAGE_KEY=... lifeboat vault create azure://backups01/servers

Makes the folder or container where it is missing and may. The recovery key is shown once: nobody can
read it out of the vault again. With --key-out it goes to a new file that only its owner can read, sealed with a
passphrase where --passphrase-file gives one.
A folder that holds anything else, and a vault that exists already, are refused.

Exit codes: 0 made, 1 failed, 2 wrong command line.";

/// `vault info`
pub(super) const INFO: &str = "\
Example:
  lifeboat vault info --vault dir:/srv/vault --key-file vault.key --json

Shows size, objects, servers, their newest points and, for Azure, what it costs a month at list prices.

Exit codes: 0 done, 1 failed, 2 wrong command line.";

/// `vault rekey`
pub(super) const REKEY: &str = "\
Examples:
  lifeboat vault rekey --vault dir:/srv/vault --key-file vault.key
  lifeboat vault rekey --vault dir:/srv/vault --key-file vault.key --server web1
  lifeboat vault rekey --vault dir:/srv/vault --key-file vault.key --recovery-key --key-out new.key
  lifeboat vault rekey --vault dir:/srv/vault --key-file vault.key --shred old1 --confirm old1

Servers get new keys for what is written from now on; what is there stays readable. --recovery-key: the old recovery
key may have been seen. Keep the old one until this has succeeded. --shred: a server's history must go, wherever
copies of it are; nothing brings it back.

Exit codes: 0 done, 1 failed, 2 wrong command line.";

/// `vault kit`
pub(super) const KIT: &str = "\
Example:
  lifeboat vault kit --vault dir:/srv/vault --key-file vault.key --with-key --out kit.txt

A page with the vault's address, the newest points known now, how to get credentials and the commands that start a
recovery; with --with-key the recovery key too, otherwise room to write it by hand. Print it, put it in a safe, delete
the file.

Exit codes: 0 done, 1 failed, 2 wrong command line.";

/// `vault ticket`
pub(super) const TICKET: &str = "\
Example:
  lifeboat vault ticket --vault dir:/srv/vault --key-file vault.key --server web1 --out web1.ticket
  lifeboat restore --vault dir:/srv/vault --key-file web1.ticket --server web1 --disk sda --to sda.img

Whoever holds the ticket can restore that server up to that point and open nothing else.

Exit codes: 0 done, 1 failed, 2 wrong command line.";

/// `protect`
pub(super) const PROTECT: &str = "\
Examples:
  lifeboat protect --vault dir:/srv/vault --key-file vault.key --server web1 /dev/sda /dev/sdb
  lifeboat protect --vault azure://backups01/servers --key-file vault.key --server web1 root=/dev/vda
  lifeboat protect --vault dir:/srv/vault --key-file vault.key --server web1 --changed ranges.txt /dev/sda

Everything is read, but only blocks that are new to the vault are sent. With --changed only what the file names is
read; disks and ranges that it does not name are taken to be as in the last point. A first point needs no such file.
A device in use is read as it is at that moment; for a point at one instant, give a snapshot.
A run that was stopped, by whatever, goes on where it was: give the same command again.

Exit codes: 0 the point is made, 1 failed and no point was made, 2 wrong command line,
3 the point is made but blocks are missing that the disk could not read.";

/// `send`
pub(super) const SEND: &str = "\
Examples:
  lifeboat send --token TOKEN --server web1 /dev/sda /dev/sdb
  lifeboat send /dev/sda /dev/sdb

For disks that nobody writes to: of a machine that was started from another medium, or image files. Neither the
vault nor its key has to be known here, only a token, once: lifeboat server token, where lifeboat serve --agents runs.
What the appliance has already is not sent. A cut of the network is waited out for a quarter of an hour; a run that was
stopped goes on where it was: give the same command again. A machine is known by its board and these disks, so name
the same ones each time. To go on as a server that has points already, make the token with --server.

Exit codes: 0 the point is in the vault, 1 failed, 2 wrong command line,
3 the point is in the vault but blocks are missing that the disk could not read.";

/// `points`
pub(super) const POINTS: &str = "\
Examples:
  lifeboat points --vault dir:/srv/vault --key-file vault.key
  lifeboat points --vault dir:/srv/vault --key-file vault.key --server web1 --json

The newest point is the last line.

Exit codes: 0 done, 1 failed, 2 wrong command line.";

/// `restore`
pub(super) const RESTORE: &str = "\
Examples:
  lifeboat restore --vault dir:/srv/vault --key-file vault.key --server web1 --disk sda --to sda.img
  lifeboat restore --vault dir:/srv/vault --key-file vault.key --server web1 --disk sda \\
      --point 4f1c9a20 --to /dev/sdb --confirm /dev/sdb

The target may have content: what is the same already is not written, so a nearly right disk is quickly mended, and a
run that was stopped goes on where it was. While it is written a file is called FILE.lifeboat-part; it gets its own
name when it is whole. A device must be named twice, must not be mounted, and must be at least as large as the disk.

A server that was failed over to Azure was changed so that it starts there, and so were its points since, where it is protected
again. Onto a device such a point comes without those changes, so that it starts where the server lived; into a file as it is.
--as-before-failover and --as-it-is say which. File systems are opened for that: it takes root.

Exit codes: 0 restored, 1 failed, 2 wrong command line, 3 restored but for blocks that the point lacks.";

/// `hydrate`
pub(super) const HYDRATE: &str = "\
Examples:
  lifeboat hydrate --vault dir:/srv/vault --key-file vault.key --server web1 --disk sda --to vhd:sda.vhd
  lifeboat hydrate --vault azure://backups01/servers --key-file vault.key --server web1 --disk sda \\
      --starts uefi --to sas:@address
  lifeboat hydrate --vault azure://backups01/servers --key-file vault.key --server web1 --disk sda \\
      --to pageblob:azure://backups01/seeds/web1-sda.vhd

Into Azure: make a managed disk with createOption Upload and the length of the VHD (the disk, rounded up to whole
mebibytes and at least 20 MiB, and 512 bytes), ask for an address to write to it, and give that, best in a file: what
stands on a command line can be seen by others, and a file is read again when the address has expired. What is zero is
not sent. A run that was stopped goes on where it was. Before anything is written the point is checked: its map opens
and all that it names is there. The disk is no VHD before it is whole.
A page blob is made where it is missing. When it is brought to another point, only what differs is moved; with --follow
it is brought to each new point until it is stopped.

Exit codes: 0 done, 1 failed, 2 wrong command line, 3 done but for blocks that the point lacks.";

/// `verify`
pub(super) const VERIFY: &str = "\
Examples:
  lifeboat verify --vault dir:/srv/vault --key-file vault.key
  lifeboat verify --vault dir:/srv/vault --key-file vault.key --deep --json

Without --deep: every chain, map and object is there and of the right size. With --deep every seal is opened,
which reads the whole vault. Damage is listed by object, with the points that it touches.

Exit codes: 0 all is well, 1 damage was found or the check failed, 2 wrong command line.";

/// `prune`
pub(super) const PRUNE: &str = "\
Examples:
  lifeboat prune --vault dir:/srv/vault --key-file vault.key --keep 72h,hourly=7d,daily=30d --dry-run
  lifeboat prune --vault dir:/srv/vault --key-file vault.key --keep 72h,hourly=7d,daily=30d,weekly=12w
  lifeboat prune --vault dir:/srv/vault --key-file vault.key --as-kept

--keep: first how long every point is kept, then for how long one an hour, a day, a week, a month. h, d, w, m and y
are hours, days, weeks, months and years. The last points are always kept, and so are those that are pinned. What only removed points used is deleted
in two steps, the second after --grace: run prune regularly. A credential that may not delete can prune but not collect.

Exit codes: 0 done, 1 failed or refused, 2 wrong command line.";

/// `serve`
pub(super) const SERVE_PAGE: &str = "\
Answers browsers and scripts: / is the page, /status.json the same for scripts, /health a code for monitoring.
Everybody who reaches the port may read them; they name no server, no disk and no place. The certificate is signed
by this machine itself and kept in the state folder: compare the fingerprint that is printed with the browser's.

Without a vault the page asks for one: the code that is printed lets a browser in, once.

Examples:
  lifeboat serve
  lifeboat serve --vault dir:/srv/vault --key-file vault.key
  lifeboat serve --vault azure://account/vault --key-file vault.key --listen 0.0.0.0:443
  lifeboat serve --vault dir:/srv/vault --key-file vault.key --agents 0.0.0.0:9443 --spool /dev/sdb

With --agents it takes what agents send: into the spool, where it survives a power cut, and out of it into the vault as
recovery points. Which servers may come and how each is protected is in the vault: lifeboat server.

Exit codes: 0 stopped by Ctrl-C or SIGTERM, 1 failed, 2 wrong command line.";

/// `push`
pub(super) const PUSH: &str = "\
Fetches the installer from the appliance that the tokens name, over its pinned certificate, and runs it on each server
through ssh, which must log in without asking: as root, or as somebody whose sudo does not ask either. Each server
uses up one token. A server that fails keeps nobody else from being installed, and its token is still good.

Examples:
  lifeboat push --tokens tokens.txt web1 web2 root@db1
  lifeboat push --tokens - --appliance 10.0.0.5:443 --ssh-config ssh.conf web1

Exit codes: 0 every server is enrolled, 1 some are not, 2 wrong command line.";

/// `serve-nbd`
pub(super) const SERVE: &str = "\
Examples:
  lifeboat serve-nbd --vault dir:/srv/vault --key-file vault.key --server web1 --disk sda
  then, elsewhere:   qemu-img info nbd://127.0.0.1:10809/sda
                     nbdcopy nbd://127.0.0.1:10809/sda sda.img
                     modprobe nbd; nbd-client 127.0.0.1 -N sda /dev/nbd0; mount -o ro /dev/nbd0p1 /mnt
  lifeboat serve-nbd --vault dir:/srv/vault --key-file vault.key --server web1 --disk sda --overlay memory
  then a machine that starts from it:   qemu-system-x86_64 ... -drive file=nbd://127.0.0.1:10809/sda,format=raw

Runs until it is stopped. Only this machine can connect unless --listen says otherwise; whoever can connect reads the
disk in the clear. Writes are refused, or with --overlay kept beside the point until the end: in memory, or in a
new file, which is gone with the program. The point stays as it is either way.

Exit codes: 0 stopped by Ctrl-C or SIGTERM, 1 failed, 2 wrong command line.";

/// `net show`
pub(super) const NET_SHOW: &str = "\
Examples:
  lifeboat net show
  lifeboat net show --json

Exit codes: 0 done, 1 failed, 2 wrong command line.";

/// `net test`
pub(super) const NET_TEST: &str = "\
Examples:
  lifeboat net test
  lifeboat net test --vault azure://backups01/servers
  lifeboat net test --vault azure://backups01/servers --speed --json
  lifeboat net test --cloud usgov --host proxy-check.example:8443

For each host: what DNS says, the route and the own address used, the connection with its latency, who signed the
certificate and for how long it counts, and a verdict with what to do. Middleboxes that open TLS, captive portals,
firewalls that cut by name and a wrong clock are told apart. No credential is sent but with --speed.

Exit codes: 0 every host is reached as it should be, 1 one is not, 2 wrong command line.";

/// `net keep`
pub(super) const NET_KEEP: &str = "\
Example:
  lifeboat net keep --config lifeboat.toml --names /run/lifeboat/net

The file holds the table [network] as the appliance reads it; everything in it may be left out:
  [network]
  dns = [\"10.0.0.53\"]                          # instead of those that DHCP and routers name
  search = [\"corp.example\"]
  hosts = { \"acct.blob.core.windows.net\" = [\"10.1.2.4\"] }     # private endpoints
  [[network.link]]
  name = \"uplink\"
  nic = \"52:54:00:12:34:56\"                    # or its place 0000:03:00.0, or the system's name
  [[network.link]]
  name = \"express\"
  bond = { nics = [\"eno1\", \"eno2\"], mode = \"802.3ad\" }        # or active-backup
  addresses = [\"10.9.0.5/24\"]                  # none: DHCP and IPv6 as routers say
  gateways = []
  mtu = 9000
  [[network.link]]
  name = \"vlan20\"
  vlan = { on = \"express\", id = 20 }
  ipv4 = \"dhcp\"                                # dhcp, static or off
  ipv6 = \"off\"                                 # auto, static or off
  [[network.route]]
  to = \"20.60.0.0/16\"
  link = \"express\"
  via = \"10.9.0.1\"
  [[network.proxy]]
  for = [\"*.blob.core.windows.net\"]
  through = \"none\"                             # straight
  [[network.proxy]]
  for = [\"*\"]
  through = \"http://name:password@proxy.example:3128\"

It changes the network of this machine and wants to be root. Where another program keeps the network too, the two
undo each other's work.

Exit codes: 0 stopped by Ctrl-C or SIGTERM, 1 failed, 2 wrong command line.";

/// `spool show`
pub(super) const SPOOL_SHOW: &str = "\
Examples:
  lifeboat spool show /dev/sdb
  lifeboat spool show /dev/sdb --json

Exit codes: 0 done, 1 failed, 2 wrong command line.";

/// `spool format`
pub(super) const SPOOL_FORMAT: &str = "\
Example:
  lifeboat spool format /dev/sdb --confirm S3YKNX0M

Without --confirm nothing is written: it says what is on the disk, and what to type. A disk that is mounted, or held by
LVM, md or another program, is refused. What is on a spool is sealed with the key in spool.key of the state folder; who
loses that formats the spool anew, and the servers send again what the vault does not have.

Exit codes: 0 done, 1 failed or refused, 2 wrong command line.";

/// `server policy`
pub(super) const SERVER_POLICY: &str = "\
Examples:
  lifeboat server policy web1 --vault dir:/srv/vault --key-file vault.key --interval 60s --keep 48h,30d,12w
  lifeboat server policy db1 --vault dir:/srv/vault --key-file vault.key --group shop --application-every 60
  lifeboat server policy db1 --vault dir:/srv/vault --key-file vault.key --pause

A running appliance tells the agent within seconds; nothing is copied anew. What is not named stays as it is.

Exit codes: 0 done, 1 failed, 2 wrong command line.";

/// `files`
pub(super) const FILES: &str = "\
Examples:
  lifeboat files --vault dir:/srv/vault --key-file vault.key --server web1 --from 66aa --to latest
  lifeboat files --vault dir:/srv/vault --key-file vault.key --server web1~f-7 --json

Reads the file systems of both points, as root and on this machine's kernel; nothing of them is written. A file none of whose
blocks changed in the vault is unchanged, all others are read. Where a file system does not say in which blocks a file lies (FAT,
NTFS), one that has its size and its time of the last change is taken for the same, and that is said, unless --content is given.

Exit codes: 0 listed, 1 failed, 2 wrong command line.";

/// `server list`
pub(super) const SERVER_LIST: &str = "\
Examples:
  lifeboat server list --vault dir:/srv/vault --key-file vault.key
  lifeboat server list --vault dir:/srv/vault --key-file vault.key --json

What a running serve of this machine measures (ages, backlog, churn) is shown too; it is found in the state folder.

Exit codes: 0 done, 1 failed, 2 wrong command line.";

/// `server drain`
pub(super) const SERVER_DRAIN: &str = "\
Examples:
  lifeboat server drain web1 --vault dir:/srv/vault --key-file vault.key
  lifeboat server drain web1 --abort --vault dir:/srv/vault --key-file vault.key

The appliance that its agent talks to (lifeboat serve) has it run its hooks with stop, make a point, make every file
system read-only, make another, and prove by the kernel's counters that nothing was written behind it. Whatever fails
undoes all of it. A drained server stays as it is until --abort, or until it is started again.

Exit codes: 0 drained, or called off; 1 failed; 2 wrong command line.";

/// `server token`
pub(super) const SERVER_TOKEN: &str = "\
Examples:
  lifeboat server token --vault dir:/srv/vault --key-file vault.key --page 10.0.0.5:8443
  lifeboat server token --vault dir:/srv/vault --key-file vault.key --page 10.0.0.5:8443 --server web1

The token is for one server and is used up by it; it names the page and its certificate, so that the server speaks to no
other. With --server it becomes that server of the vault, which may have points already: a server whose agent was
installed anew, or one that was captured before. One that was revoked is let in again with --readmit only.

Exit codes: 0 done, 1 failed, 2 wrong command line.";

/// `server revoke`, `server accept`
pub(super) const SERVER_NAME: &str = "\
Examples:
  lifeboat server revoke web1 --vault dir:/srv/vault --key-file vault.key
  lifeboat server accept web1 --vault dir:/srv/vault --key-file vault.key
  lifeboat server accept web1 --after-failover --vault dir:/srv/vault --key-file vault.key

While a failover of a server stands, its original adds nothing to its points: what it writes is kept beside, as NAME~ORDER,
which every verb takes as a server. --after-failover ends that.

Exit codes: 0 done, 1 failed, 2 wrong command line.";
