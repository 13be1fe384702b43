//! The long texts of recovery into Azure.

/// `drill`
pub(in crate::cli) const DRILL: &str = "\
Examples:
  lifeboat drill --vault azure://backups01/servers --key-file vault.key --server web1
  lifeboat drill --vault dir:/srv/vault --key-file vault.key --server web1 --point latest-app --report web1.html
  lifeboat drill --vault dir:/srv/vault --key-file vault.key --server web1 --dry-run
  lifeboat drill --vault dir:/srv/vault --key-file vault.key --server web1 --here --console login: --to /srv/copies

Makes disks and a virtual machine of a point in a network that reaches nothing, waits for the signals of the server's target
profile, keeps console log, screenshot and the time of each step, and takes everything back. It may be stopped at any
moment: the same command again goes on. Azure's credentials are those of --help, for the control plane as for the vault.

With --here nothing of that is made: QEMU on this machine starts from the point as it is exported, in a network that reaches
nothing, while --to brings the point into files or devices; what the machine writes is gone with it. It needs QEMU, and OVMF
for servers that start by UEFI. Interrupted, it is over, and nothing is left but what --to had brought.

Exit codes: 0 the server came up, 1 it did not or the drill failed, 2 wrong command line.";

/// `failover`
pub(in crate::cli) const FAILOVER: &str = "\
Examples:
  lifeboat failover --vault azure://backups01/servers --key-file vault.key --server web1
  lifeboat failover --vault azure://backups01/servers --key-file vault.key --server web1 --point latest-app
  lifeboat failover --vault azure://backups01/servers --key-file vault.key --server web1 --planned
  lifeboat failover --vault azure://backups01/servers --key-file vault.key --server web1 --cancel

Where a failover of the server is open this goes on with it; --point then takes another point, until it is committed;
the word that it was given before changes nothing, so name a newer point by its ID. From
the step fork on the original server is demoted: what it still writes is kept apart. lifeboat commit ends the order and keeps
the server; --cancel takes everything away that was made.

Exit codes: 0 the server is up in Azure, 1 failed, 2 wrong command line.";

/// `commit`
pub(in crate::cli) const COMMIT: &str = "\
Example:
  lifeboat commit --vault azure://backups01/servers --key-file vault.key --server web1

The failover is kept: it can be neither changed to another point nor cancelled any more. All recovery points stay.

Exit codes: 0 committed, 1 failed or the server is not up, 2 wrong command line.";

/// `cleanup`
pub(in crate::cli) const CLEANUP: &str = "\
Examples:
  lifeboat cleanup --vault dir:/srv/vault --key-file vault.key
  lifeboat cleanup --vault dir:/srv/vault --key-file vault.key --order 4f1c9a20
  lifeboat cleanup --vault dir:/srv/vault --key-file vault.key --orphans

Without options it lists the open orders and, by tag, what is in Azure with this vault's name on it. --order takes one
order back. --orphans takes away what orders left that are over; what an open order or a kept failover needs is left
alone, and so is what this vault does not know.

Exit codes: 0 done, 1 failed, 2 wrong command line.";

/// `plan create`
pub(in crate::cli) const PLAN_CREATE: &str = "\
Example:
  lifeboat plan create --vault dir:/srv/vault --key-file vault.key --file shop.toml

The file:
  name = \"shop\"
  [[group]]
  name = \"databases\"
  before = [{ manual = \"tell the help desk\" }]
  after = [{ wait = 30 }]
  [[group.server]]
  name = \"db1\"
  sizes = [\"Standard_E8s_v5\"]            # other than in its target profile; network, subnet and address too
  [[group]]
  name = \"front\"
  after = [{ webhook = { url = \"https://example/hook\" } }, { command = { run = [\"/usr/local/bin/dns\", \"web1\"] } }]
  [[group.server]]
  name = \"web1\"

Groups follow each other, the servers of one are recovered together. A command finds LIFEBOAT_PLAN, LIFEBOAT_RUN and
LIFEBOAT_KIND in its environment; a hook that was cut off is run again. While a run stands, what still comes of it may be
given anew: a server that is no more, a hook that was wrong.

Exit codes: 0 kept, 1 refused, 2 wrong command line.";

/// `plan show`, `plan report`
pub(in crate::cli) const PLAN_SHOW: &str = "\
Examples:
  lifeboat plan show --vault dir:/srv/vault --key-file vault.key
  lifeboat plan report shop --vault dir:/srv/vault --key-file vault.key --html shop.html

Exit codes: 0 done, 1 failed, 2 wrong command line.";

/// `plan run`, `plan continue`
pub(in crate::cli) const PLAN_RUN: &str = "\
Examples:
  lifeboat plan run shop --vault dir:/srv/vault --key-file vault.key --drill
  lifeboat plan run shop --vault dir:/srv/vault --key-file vault.key
  lifeboat plan continue shop --vault dir:/srv/vault --key-file vault.key
  lifeboat plan commit shop --vault dir:/srv/vault --key-file vault.key

A run that is open is gone on with. At a step for a person it ends with code 0 and says what is to be done; plan continue
says that it is. plan commit keeps what the failovers of a plan made, all of them; commit --server keeps one.

Exit codes: 0 done or waiting for a person, 1 failed, 2 wrong command line.";

/// `ready`
pub(in crate::cli) const READY: &str = "\
Examples:
  lifeboat ready --vault dir:/srv/vault --key-file vault.key
  lifeboat ready --vault dir:/srv/vault --key-file vault.key --server web1 --azure --deep

For each server: is its target profile sound, how old is its newest point and is it whole, what firmware it needs, when was it
last drilled and how long that took. With --azure everything that a failover would check there is checked now.

Exit codes: 0 every server is ready, 1 one is not, 2 wrong command line.";

/// `target show`
pub(in crate::cli) const TARGET_SHOW: &str = "\
Example:
  lifeboat target show --vault dir:/srv/vault --key-file vault.key --server web1

Exit codes: 0 done, 1 failed, 2 wrong command line.";

/// `target role`
pub(in crate::cli) const TARGET_ROLE: &str = "\
Examples:
  lifeboat target role --subscription 00000000-0000-0000-0000-000000000000 > role.json
  az role definition create --role-definition role.json
  az role assignment create --role 'Lifeboat recovery' --assignee APPID --scope /subscriptions/00000000-0000-0000-0000-000000000000

Exit codes: 0 done, 1 failed, 2 wrong command line.";

/// `target set`
pub(in crate::cli) const TARGET_SET: &str = "\
Examples:
  lifeboat target set --vault dir:/srv/vault --key-file vault.key --server web1 --file web1.toml
  lifeboat target set --vault dir:/srv/vault --key-file vault.key --server web1 --size Standard_D4s_v5 --size Standard_D4as_v5

The file; what is left out is as shown:
  subscription = \"00000000-0000-0000-0000-000000000000\"
  location = \"westeurope\"
  group = \"recovered\"                       # must be there
  network = \"hub\"                           # its group: network_group = \"...\", else group
  subnet = \"servers\"
  sizes = [\"Standard_D4s_v5\", \"Standard_D4as_v5\"]
  address = \"dynamic\"                       # or \"retained\": found at home; { given = \"10.1.0.4\" }
  system_disk = \"Premium_LRS\"
  data_disks = \"Premium_LRS\"
  disk_types = { sdb = \"StandardSSD_LRS\" }
  security = \"standard\"                     # or trusted_launch
  public_address = false
  signals = [{ console = \"login:\" }]        # none; also { tcp = 22 }, { http = { port = 80, path = \"/\", contains = \"ok\" } }
  signal_within_s = 900
  who_may = []                              # [\"ann\", \"bob@host\"]
  tags = { owner = \"it\" }
  # zone, name, licence, security_group, starts_from, generation, drill_group: none
  drill_range = \"10.255.0.0/24\"
  seed = false                              # true: lifeboat serve keeps its disks warm as page blobs, for a short time to recover
  seed_container = \"azure://ACCOUNT/seeds\"  # none: container seeds of the vault's account; its group: seed_group, else group
  seed_mib_per_s = 30

Orders that are on keep the profile that they began with.

Exit codes: 0 kept, 1 refused, 2 wrong command line.";
