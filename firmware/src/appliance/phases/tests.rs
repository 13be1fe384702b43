//! The runner does what the plan's data says.

use core::cell::{Cell, RefCell};

use super::*;

#[derive(Default)]
struct Simulated {
    now: Cell<u64>,
    told: RefCell<Vec<(&'static str, State)>>,
    rested: Cell<u64>,
}

impl Around for Simulated {
    fn millis(&self) -> u64 {
        self.now.get()
    }

    fn rest(&self, pause: Duration) {
        self.rested.set(self.rested.get() + u64::try_from(pause.as_millis()).unwrap());
    }

    fn begins(&self, _: &'static str) {}

    fn ended(&self, step: &Step) {
        self.told.borrow_mut().push((step.name, step.state));
    }
}

type Count = Cell<u32>;

fn fine(count: &Count) -> Result<String, String> {
    count.set(count.get() + 1);
    Ok("fine".to_owned())
}

fn broken(count: &Count) -> Result<String, String> {
    count.set(count.get() + 1);
    Err("broken".to_owned())
}

fn third_time(count: &Count) -> Result<String, String> {
    count.set(count.get() + 1);
    if count.get() == 3 { Ok(String::new()) } else { Err("not yet".to_owned()) }
}

fn panics(_: &Count) -> Result<String, String> {
    panic!("a table was empty")
}

fn phase(
    name: &'static str,
    needs: &'static [&'static str],
    on_failure: OnFailure,
    run: fn(&Count) -> Result<String, String>,
) -> Phase<Count> {
    Phase { name, needs, on_failure, run }
}

fn play(plan: &[Phase<Count>]) -> (Verdict, Simulated, u32) {
    assert!(flaws(plan).is_empty());
    let (around, count) = (Simulated::default(), Count::default());
    let verdict = run(plan, &count, &around);
    (verdict, around, count.get())
}

#[test]
fn a_failure_that_may_be_passed_skips_only_what_needs_it() {
    let plan = [
        phase("one", &[], OnFailure::GoOn, broken),
        phase("two", &["one"], OnFailure::Stay, fine),
        phase("three", &["two"], OnFailure::Stay, fine),
        phase("four", &[], OnFailure::Stay, fine),
    ];
    let (verdict, around, ran) = play(&plan);
    assert_eq!((verdict, ran), (Verdict::Ready, 2));
    let told = around.told.into_inner();
    assert_eq!(
        told,
        [
            ("one", State::Failed),
            ("two", State::Skipped),
            ("three", State::Skipped),
            ("four", State::Done)
        ]
    );
}

#[test]
fn retries_are_counted_and_paced() {
    let pause = Duration::from_millis(250);
    let plan = [phase("one", &[], OnFailure::Retry { times: 4, pause }, third_time)];
    let (verdict, around, ran) = play(&plan);
    assert_eq!((verdict, ran, around.rested.get()), (Verdict::Ready, 3, 500));
    let plan = [phase("one", &[], OnFailure::Retry { times: 2, pause }, broken)];
    let (verdict, around, ran) = play(&plan);
    assert_eq!((verdict, ran, around.rested.get()), (Verdict::Ready, 3, 500));
    let states: Vec<State> = around.told.borrow().iter().map(|(_, state)| *state).collect();
    assert_eq!(states, [State::Again, State::Again, State::Failed]);
}

#[test]
fn what_cannot_be_passed_ends_the_boot_as_its_row_says() {
    let plan =
        [phase("one", &[], OnFailure::Stay, broken), phase("two", &[], OnFailure::GoOn, fine)];
    let (verdict, _, ran) = play(&plan);
    assert_eq!((verdict, ran), (Verdict::Stay("one: broken".to_owned()), 1));
    let pause = Duration::from_secs(60);
    let (verdict, ..) = play(&[phase("one", &[], OnFailure::Reboot { pause }, broken)]);
    assert_eq!(verdict, Verdict::Reboot("one: broken".to_owned(), pause));
}

#[test]
fn a_panic_is_a_failure_with_its_words() {
    let plan =
        [phase("one", &[], OnFailure::GoOn, panics), phase("two", &[], OnFailure::GoOn, fine)];
    let (verdict, _, ran) = play(&plan);
    assert_eq!((verdict, ran), (Verdict::Ready, 1));
    let words = guarded(|| panics(&Count::default())).unwrap_err();
    assert!(words.contains("a table was empty"), "{words}");
}

#[test]
fn a_plan_with_a_wrong_need_is_noticed() {
    let wrong = [
        phase("one", &["two"], OnFailure::GoOn, fine),
        phase("two", &[], OnFailure::GoOn, fine),
        phase("two", &[], OnFailure::GoOn, fine),
    ];
    assert_eq!(flaws(&wrong).len(), 2);
}
