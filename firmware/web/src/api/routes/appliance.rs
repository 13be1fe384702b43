//! The machine, what happened, alerts, verbs.

use core::mem::take;

use super::{
    ADMINISTRATOR, Gives, Kind, Meant, OPERATOR, Route, Takes, VIEWER, get, may, parameter, post,
    put, shape,
};
use crate::api::call::Call;
use crate::api::metrics;
use crate::api::reply::{Body, Reply, json};
use crate::api::site::{Answer, Refusal, Role};
use crate::api::verbs::{FILE_BYTES_MAX, VerbAsked, VerbTold};
use crate::api::views::alerts::{AlertsSet, AlertsView, ChannelTest};
use crate::api::views::appliance::{
    ApplianceView, CalendarView, MeasurementsView, UpdateAsked, UpdateView,
};
use crate::api::views::events::{EventFilter, EventPage};
use crate::api::views::servers::Health;
use crate::api::views::vault::JobView;

/// Where Prometheus asks: the one route that is not below the others.
pub const METRICS: &str = "/metrics";
/// Events of one answer at most.
const EVENTS_MAX: u64 = 500;
/// A slot and its head are 28 MiB; what is larger is no update.
const UPDATE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A file in base64, and the words beside it.
const VERB_BYTES_MAX: usize = FILE_BYTES_MAX / 3 * 4 + 64 * 1024;

pub(super) const ROUTES: &[Route] = &[
    get("appliance", "/appliance", VIEWER, "The machine")
        .gives::<ApplianceView>()
        .does(|call| json(call.site().appliance())),
    get(
        "measurements",
        "/appliance/measurements",
        ADMINISTRATOR,
        "What was measured before the machine's first process began, and what its security chip holds",
    )
    .gives::<MeasurementsView>()
    .does(|call| json(call.site().measurements())),
    put(
        "setCalendar",
        "/appliance/calendar",
        OPERATOR,
        "Changes how much may be sent at which hours",
    )
    .takes::<CalendarView>()
    .gives::<ApplianceView>()
    .does(|call| json(call.site().set_calendar(call.by()?, &call.json()?))),
    get("update", "/appliance/update", VIEWER, "What runs, and whether an update may be put in")
        .gives::<UpdateView>()
        .does(|call| json(call.site().update())),
    post("updateFrom", "/appliance/update", ADMINISTRATOR, "Gets an update and puts it in")
        .takes::<UpdateAsked>()
        .gives::<JobView>()
        .does(|call| json(call.site().update_from(call.by()?, &call.json::<UpdateAsked>()?.from))),
    Route {
        takes: Takes::Stream(UPDATE_BYTES_MAX),
        ..put("updateWith", "/appliance/update", ADMINISTRATOR, "Puts in the update that is sent")
            .gives::<JobView>()
            .does(|call| {
                let mut bytes = call.stream.ok_or_else(Refusal::default)?;
                json(call.site().update_with(call.by()?, &mut bytes))
            })
    },
    post("restart", "/appliance/restart", ADMINISTRATOR, "Starts the machine anew")
        .destroys()
        .does(|call| call.site().restart(call.by()?).map(|()| Reply::nothing())),
    get("events", "/events", VIEWER, "What happened, the newest first")
        .query(&[
            parameter("text", Kind::Text, "In any of its words, whatever the case"),
            parameter("at_least", Kind::Word(shape::<Health>), "No better than this"),
            parameter("object", Kind::Text, "Of which object: server web1"),
            parameter("before", Kind::Number(u64::MAX), "Older than this number"),
            parameter(
                "limit",
                Kind::Number(EVENTS_MAX),
                "At most so many; 100 where nothing is said",
            ),
        ])
        .gives::<EventPage>()
        .does(|call| json(call.site().events(&filter(call)?))),
    Route {
        gives: Gives::Events,
        ..get(
            "eventStream",
            "/events/stream",
            VIEWER,
            "What happens, as server-sent events: overview, job, order, event",
        )
        .does(|call| {
            let after = call.last_event.and_then(|text| text.parse().ok());
            let headers = vec![("content-type", "text/event-stream".to_owned())];
            Ok(Reply { status: 200, headers, body: Body::Events { after } })
        })
    },
    get(
        "supportBundle",
        "/support-bundle",
        OPERATOR,
        "Everything that helps whoever helps, without a secret",
    )
    .gives_content("application/gzip")
    .noted()
    .does(|call| {
        let name = "attachment; filename=\"lifeboat-support.tar.gz\"";
        Ok(Reply::bytes(200, "application/gzip", call.site().support_bundle()?)
            .with("content-disposition", name.to_owned()))
    }),
    get("metrics", METRICS, VIEWER, "Everything that is measured, for Prometheus")
        .gives_content(metrics::CONTENT_TYPE)
        .does(|call| {
            let text = call.metrics()?.into_bytes();
            Ok(Reply::bytes(200, metrics::CONTENT_TYPE, text))
        }),
    get("alerts", "/alerts", VIEWER, "Who is told when something goes wrong, and what does")
        .gives::<AlertsView>()
        .does(|call| {
            let mut alerts = call.alarm()?.alerts()?;
            if !call.is(Role::Administrator) {
                alerts.channels.iter_mut().for_each(|it| it.way = take(&mut it.way).veiled());
            }
            json(Ok(alerts))
        }),
    put("setAlerts", "/alerts", ADMINISTRATOR, "Changes them")
        .takes::<AlertsSet>()
        .gives::<AlertsView>()
        .does(|call| json(call.alarm()?.set_alerts(call.by()?, &call.json()?))),
    post("testAlerts", "/alerts/test", ADMINISTRATOR, "Sends a message by every channel")
        .gives::<Vec<ChannelTest>>()
        .does(|call| json(call.alarm()?.test(call.by()?))),
    Route {
        takes: Takes::Json(shape::<VerbAsked>, VERB_BYTES_MAX),
        gives: Gives::Lines(shape::<VerbTold>),
        ..post(
            "verb",
            "/verbs",
            VIEWER,
            "Runs a verb of the command line; its role is the verb's own",
        )
        .weighs(verb_weighs)
        .about(|call| Some(call.verbs().ok()?.weigh(&call.json().ok()?).ok()?.words))
        .does(verb)
    },
];

fn filter(call: &Call<'_>) -> Answer<EventFilter> {
    let limit = call.number("limit", EVENTS_MAX)?;
    Ok(EventFilter {
        text: call.text("text")?,
        at_least: call.word("at_least")?,
        object: call.text("object")?,
        before: call.number("before", u64::MAX)?,
        limit: limit.and_then(|limit| usize::try_from(limit).ok()),
    })
}

/// The verb's own role counts, before anybody is asked to agree.
fn verb_weighs(call: &Call<'_>) -> Answer<Meant> {
    let weight = call.verbs()?.weigh(&call.json()?)?;
    if let Some(route) = super::all().find(|route| route.id == "verb") {
        may(route, call.by()?.role, weight.role)?;
    }
    Ok(match (weight.second_person, weight.server) {
        (false, _) => Meant::Nothing,
        (true, Some(server)) => Meant::Servers(vec![server], weight.words),
        (true, None) => Meant::Everything(weight.words),
    })
}

fn verb(call: &Call<'_>) -> Answer<Reply> {
    let running = call.verbs()?.begin(call.by()?, &call.json()?)?;
    let headers = vec![("content-type", "application/x-ndjson".to_owned())];
    Ok(Reply { status: 200, headers, body: Body::Lines(running) })
}
