//! Which forms there are, and what each field refuses. Data alone.

use tests::forms::Bad::{self, Bidi, Emoji, Empty, Huge, Is, Long, Markup};
use tests::forms::{Field, Form, field};

const NAMES: &[Bad] = &[Empty, Long, Markup, Bidi, Emoji];
const CONFIRM: &[Field] =
    &[field("[name=confirm]", &[Empty, Long, Markup, Bidi, Emoji, Is("WEB"), Is("web ")])];
const OTHERWISE: Field =
    field("[data-field='/otherwise_bytes_per_second']", &[Empty, Is("-1"), Huge]);

pub(super) const PAIRING: Form<'_> = Form {
    at: "",
    heading: "",
    opens: "",
    form: "form[aria-label=Begin]",
    good: &[],
    fields: &[
        field("[name=name]", &[Empty, Long, Markup, Bidi, Emoji]),
        field("[name=password]", &[Empty, Is("short")]),
        field("[name=again]", &[Empty, Is("another")]),
        // Whoever guesses waits: a few are free.
        field("[name=code]", &[Empty, Markup]),
    ],
};

const VAULT: Form<'_> = Form {
    at: "#/setup",
    heading: "First run",
    opens: "",
    form: "form[aria-label=Vault]",
    good: &[],
    fields: &[field(
        "[name=place]",
        &[Empty, Long, Markup, Bidi, Emoji, Is("azure:nowhere"), Is("dir:here"), Is("azure://A/b")],
    )],
};
const AZURE: (&str, &str) = ("[name=place]", "azure://lifeboat/vault");
const VALUES: &[Bad] = &[Empty, Long, Markup, Emoji];

/// A vault in Azure whose credential is one value.
const fn by_value(good: &'static [(&'static str, &'static str)]) -> Form<'static> {
    const FIELDS: &[Field] = &[field("[name=value]", VALUES)];
    Form { good, fields: FIELDS, ..VAULT }
}

pub(super) const VAULTS: &[Form<'_>] = &[
    VAULT,
    by_value(&[AZURE, ("[name=kind]", "account_key")]),
    by_value(&[AZURE, ("[name=kind]", "sas")]),
    by_value(&[AZURE, ("[name=kind]", "connection_string")]),
    Form {
        good: &[
            AZURE,
            ("[name=kind]", "client_secret"),
            ("[name=tenant]", "t"),
            ("[name=client]", "c"),
            ("[name=value]", "v"),
        ],
        fields: &[
            field("[name=tenant]", VALUES),
            field("[name=client]", VALUES),
            field("[name=value]", &[Empty]),
        ],
        ..VAULT
    },
    by_value(&[
        AZURE,
        ("[name=kind]", "client_certificate"),
        ("[name=tenant]", "t"),
        ("[name=client]", "c"),
    ]),
    Form {
        opens: "await page.getByText('by an authority of your own').click();",
        good: &[AZURE],
        fields: &[field(
            "[name=authority]",
            &[
                Long,
                Markup,
                Emoji,
                Is("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
            ],
        )],
        ..VAULT
    },
    Form {
        good: &[AZURE, ("[name=kind]", "managed_client")],
        fields: &[field("[name=client]", VALUES)],
        ..VAULT
    },
];

pub(super) const KEY: &[Form<'_>] = &[Form {
    form: "form[aria-label='Recovery key']",
    fields: &[field("[name=typed]", &[Empty, Long, Markup, Bidi, Emoji, Huge])],
    ..VAULT
}];

pub(super) const TIME: &[Form<'_>] = &[Form {
    form: "form[aria-label='Time and limits']",
    fields: &[
        field("[name=zone]", &[Empty, Long, Markup, Bidi]),
        field(
            "[name=servers]",
            &[
                Long,
                Markup,
                Emoji,
                Is("10.0.0.300"),
                Is("10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5"),
            ],
        ),
        OTHERWISE,
    ],
    ..VAULT
}];

const SERVER: Form<'_> = Form {
    at: "#/server/web",
    heading: "web",
    opens: "",
    form: "dialog form",
    good: &[],
    fields: CONFIRM,
};
const ACCESS: Form<'_> = Form { at: "#/access", heading: "Access", ..SERVER };
const PASSWORD: &str = crate::first_run::PASSWORD;
const COUNT: &[Bad] = &[Empty, Is("-1"), Is("1.5"), Huge];
const RATE: &[Bad] = &[Empty, Is("-1"), Huge];

const ADDED: &[Form<'_>] = &[
    // The vault in use, opened by something else.
    Form {
        heading: "Setup",
        opens: "await page.getByText('Open it by something else').click();",
        fields: &[field(
            "[name=place]",
            &[Empty, Long, Markup, Bidi, Is("dir:here"), Is("dir:/srv/other")],
        )],
        ..VAULT
    },
    Form {
        at: "#/add",
        heading: "Add a server",
        form: "form[aria-label='A line to run']",
        fields: &[field("[name=name]", &[Long, Markup, Bidi, Is("a b"), Is("a/b")])],
        ..SERVER
    },
    Form {
        at: "#/add",
        heading: "Add a server",
        form: "form[aria-label='Look at a network']",
        fields: &[field(
            "[name=network]",
            &[Empty, Long, Markup, Bidi, Is("10.0.0.0/8"), Is("300.1.1.1/24"), Is("fe80::/10")],
        )],
        ..SERVER
    },
    Form {
        form: "form[aria-label='Policy of web']",
        fields: &[
            field("[name=interval_seconds]", &[Empty, Is("9"), Is("-1"), Is("60.5"), Huge]),
            field("[name=application_every]", COUNT),
            field("[name=freeze_budget_millis]", &[Empty, Is("-1"), Is("6000"), Huge]),
            field("[name=freeze_limit_millis]", &[Empty, Is("0"), Is("30001"), Huge]),
            field("[name=send_bytes_per_second]", RATE),
            field("[name=compare_bytes_per_second]", RATE),
            field("[name=keep]", &[Long, Markup, Bidi, Emoji, Is("for a while")]),
            field("[name=group]", &[Long]),
        ],
        ..SERVER
    },
    Form {
        form: "form[aria-label='Target profile of web']",
        fields: &[field("[name=text]", &[Empty, Long, Markup, Bidi, Emoji, Is("[[")])],
        ..SERVER
    },
    Form {
        opens: "await page.getByRole('button', { name: 'Failover', exact: true }).click();",
        ..SERVER
    },
    Form {
        opens: "await page.getByRole('button', { name: 'Revoke', exact: true }).click();",
        ..SERVER
    },
    Form {
        opens: "await page.getByRole('button', { name: 'Accept another machine', exact: true }).click();",
        ..SERVER
    },
    Form {
        opens: "await page.getByRole('button', { name: 'Keep for good' }).click();",
        fields: &[field("[name=why]", &[Empty, Long])],
        ..SERVER
    },
    Form {
        at: "#/recovery",
        heading: "Recovery",
        opens: "await page.getByRole('button', { name: 'Write a plan' }).click();",
        fields: &[field(
            "[name=text]",
            &[Empty, Long, Markup, Bidi, Emoji, Is("name = \"x\"\n[[group]\n")],
        )],
        ..SERVER
    },
    Form {
        at: "#/vault",
        heading: "Vault",
        opens: "await page.getByRole('button', { name: 'Change how long points of all others are kept' }).click();",
        fields: &[field(
            "[name=keep]",
            &[Long, Markup, Bidi, Emoji, Is("for a while"), Is("99999999999999999999h")],
        )],
        ..SERVER
    },
    Form {
        at: "#/appliance",
        heading: "Appliance",
        form: "form[aria-label=Calendar]",
        fields: &[OTHERWISE],
        ..SERVER
    },
    Form {
        at: "#/setup",
        heading: "Setup",
        opens: "await page.getByText('Install one of your own').click();",
        form: "form[aria-label=Certificate]",
        good: &[("[name=key]", "no key")],
        fields: &[field("[name=chain]", &[Empty, Long, Markup, Emoji])],
    },
    // Nothing at all is no certificate either, and takes none away.
    Form {
        at: "#/setup",
        heading: "Setup",
        opens: "await page.getByText('Install one of your own').click();",
        form: "form[aria-label=Certificate]",
        fields: &[field("[name=chain]", &[Empty])],
        ..SERVER
    },
];

const PERSONS: &[Form<'_>] = &[
    Form {
        opens: "await page.getByRole('button', { name: 'Let somebody in' }).click();",
        good: &[("[name=name]", "eve"), ("[name=password]", PASSWORD), ("[name=again]", PASSWORD)],
        fields: &[
            field("[name=name]", &[Empty, Long, Markup, Bidi, Emoji, Is("a b"), Is("ada")]),
            field("[name=password]", &[Empty, Is("short"), Long]),
            field("[name=again]", &[Empty, Is("another")]),
        ],
        ..ACCESS
    },
    Form {
        opens: "await page.getByRole('button', { name: 'New password of ada' }).click();",
        good: &[
            ("[name=old]", PASSWORD),
            ("[name=password]", PASSWORD),
            ("[name=again]", PASSWORD),
        ],
        fields: &[
            field("[name=password]", &[Empty, Is("short")]),
            field("[name=again]", &[Empty]),
            field("[name=old]", &[Empty, Markup]),
        ],
        ..ACCESS
    },
    Form {
        opens: "await page.getByRole('button', { name: 'Make a token' }).click();",
        good: &[("[name=name]", "scripts")],
        fields: &[
            field("[name=name]", NAMES),
            field("[name=days]", &[Is("0"), Is("-1"), Is("1.5"), Is("4000"), Huge]),
        ],
        ..ACCESS
    },
];

/// Names as they stand there, less or more than they are.
const ENDED: &[Form<'_>] = &[
    Form {
        opens: "await page.getByRole('button', { name: 'Remove bea' }).click();",
        fields: &[field(
            "[name=confirm]",
            &[Empty, Long, Markup, Bidi, Emoji, Is("BEA"), Is("bea "), Is("ada")],
        )],
        ..ACCESS
    },
    Form {
        opens: "await page.getByRole('button', { name: 'End it: the token robot' }).click();",
        fields: &[field(
            "[name=confirm]",
            &[Empty, Long, Markup, Bidi, Emoji, Is("ROBOT"), Is(" robot"), Is("bea")],
        )],
        ..ACCESS
    },
    Form {
        at: "#/vault",
        heading: "Vault",
        opens: "await page.getByRole('button', { name: 'Prune now…' }).click();",
        fields: &[field("[name=confirm]", &[Empty, Long, Markup, Bidi, Emoji, Is("Prune")])],
        ..SERVER
    },
];

const TOLD: &[Form<'_>] = &[
    Form {
        opens: "await page.getByRole('button', { name: 'Add webhook' }).click();",
        good: &[("[name=name]", "hook"), ("[name=url]", "https://127.0.0.1:1/")],
        fields: &[
            field("[name=name]", NAMES),
            field(
                "[name=url]",
                &[Empty, Long, Markup, Bidi, Emoji, Is("ftp://127.0.0.1/"), Is("https://")],
            ),
            field("[name=secret]", &[Long]),
        ],
        ..ACCESS
    },
    Form {
        opens: "await page.getByRole('button', { name: 'Add syslog' }).click();",
        good: &[("[name=name]", "logs"), ("[name=host]", "127.0.0.1:5514")],
        fields: &[
            field("[name=name]", NAMES),
            field(
                "[name=host]",
                &[Empty, Long, Markup, Bidi, Emoji, Is("a:99999"), Is("not a host")],
            ),
        ],
        ..ACCESS
    },
    Form {
        opens: "await page.getByRole('button', { name: 'Add e-mail' }).click();",
        good: &[
            ("[name=name]", "mail"),
            ("[name=host]", "127.0.0.1:2525"),
            ("[name=from]", "a@example.org"),
            ("[name=to]", "b@example.org"),
        ],
        fields: &[
            field("[name=host]", &[Empty, Long, Markup]),
            field("[name=from]", &[Empty, Long, Markup, Bidi, Is("nobody")]),
            field("[name=to]", &[Empty, Long, Markup, Bidi, Is("nobody")]),
            field("[name=user]", &[Long]),
        ],
        ..ACCESS
    },
    Form {
        opens: "await page.getByText('When something is an alert').first().click();",
        form: "form[aria-label='When something is an alert']",
        fields: &[
            field("[name=rpo_percent]", &[Empty, Is("99"), Is("-1"), Is("100.5"), Huge]),
            field("[name=silent_seconds]", &[Empty, Is("59"), Is("604801")]),
            field("[name=spool_percent]", &[Empty, Is("9"), Is("100")]),
            field("[name=spool_left_seconds]", COUNT),
            field("[name=again_hours]", COUNT),
            field("[name=tripwire_pin_days]", &[Empty, Is("0"), Is("366"), Huge]),
        ],
        ..ACCESS
    },
];

/// Where whoever looks has logged in.
pub(super) const SIGNED_IN: [&[Form<'_>]; 4] = [ADDED, PERSONS, ENDED, TOLD];

/// Who has not: the last, since whoever guesses waits.
pub(super) const LOGIN: Form<'_> = Form {
    at: "",
    heading: "",
    opens: "await context.clearCookies(); await page.reload(); await page.getByLabel('Password').waitFor();",
    form: "form[aria-label='Log in']",
    good: &[("[name=name]", "ada")],
    fields: &[field("[name=password]", &[Markup, Bidi])],
};

/// On the appliance alone: a program beside others is updated as it was installed.
pub(super) const UPDATE: Form<'_> = Form {
    at: "#/appliance",
    heading: "Appliance",
    opens: "",
    form: "form[aria-label='Put it in']",
    good: &[],
    fields: &[field(
        "[name=from]",
        &[
            Long,
            Markup,
            Bidi,
            Emoji,
            Huge,
            Is("ftp://updates.example/lifeboat.update"),
            Is("https://"),
            Is("https://updates example/"),
            Is("https://name:word@updates.example/"),
            Is("javascript:window.ran=1"),
            Is("/etc/shadow"),
        ],
    )],
};
