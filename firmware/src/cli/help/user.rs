//! The long texts of `user`, `approval` and `call`.

/// `user`
pub(in super::super) const USER: &str = "\
Examples:
  lifeboat user list --state /var/lib/lifeboat
  lifeboat user add ada --role operator --state /var/lib/lifeboat < password
  lifeboat --remote https://192.0.2.10 --token-file token user add ada --role operator < password
  lifeboat --remote https://192.0.2.10 --token-file token user role ada viewer

A password is the first line of standard input, never on a command line. Roles are viewer, operator and administrator; the last
administrator stays. By --remote it is done by the appliance, for an administrator, and stands in its audit log; sessions of
whoever got another password or was removed end. In a folder it is done beside a serve that runs, which sees it at once;
whoever can write there needs no login, and no audit log has it.

Exit codes: 0 done, 1 failed or refused, 2 wrong command line.";

/// `approval`
pub(in super::super) const APPROVAL: &str = "\
Examples:
  lifeboat --remote https://192.0.2.10 --token-file token approval list
  lifeboat --remote https://192.0.2.10 --token-file token approval grant 0123456789abcdef

What waits for a second person is in the memory of the appliance that was asked, for an hour. Another administrator than who
asked agrees; a verb is then run again by who asked, once, and anything else is done at once.

Exit codes: 0 done, 1 failed or refused, 2 wrong command line.";

/// `call`
pub(in super::super) const CALL: &str = "\
Examples:
  lifeboat --remote https://192.0.2.10 --token-file token call GET /servers/web1
  lifeboat --remote https://192.0.2.10 --token-file token call PUT /vault/retention --file retention.json
  lifeboat --remote https://192.0.2.10 --token-file token call PUT /appliance/update --file lifeboat.update
  echo '{\"why\": \"the audit\"}' | lifeboat --remote https://192.0.2.10 --token-file token \\
    call PUT /servers/web1/points/POINT/pin --file -

Paths and what they take stand in the appliance's own document: call GET /openapi.json. What is answered goes to standard output
as it comes: JSON, a file, a report, or events without end. The token's role counts, and where a server's policy asks for a
second person it is waited for: once that one has agreed, it is done.

Exit codes: 0 done, 1 failed or refused, 2 wrong command line or wrong content.";
