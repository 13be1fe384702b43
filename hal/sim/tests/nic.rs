//! The simulated NIC passes the suite, with and without delays that keep the order.

use hal::net::address::Mac;
use hal_sim::conformance::nic::{Bench, run};
use hal_sim::{SimNic, Wire, WireFaults};

/// Two NICs on a wire of their own.
struct Pair {
    wire: Wire,
    a: SimNic,
    b: SimNic,
}

impl Bench for Pair {
    type Nic = SimNic;

    fn ends(&mut self) -> (&mut SimNic, &mut SimNic) {
        (&mut self.a, &mut self.b)
    }

    fn pass(&mut self) {
        self.wire.pass_to(self.wire.now().after(1000));
    }

    fn set_carrier(&mut self, carrier: bool) {
        self.a.set_carrier(carrier);
        self.b.set_carrier(carrier);
    }
}

#[test]
fn the_simulated_nic_conforms() {
    run(|| {
        let wire = Wire::new(1, WireFaults::default());
        let (a, b) = (wire.nic(Mac([2, 0, 0, 0, 0, 1])), wire.nic(Mac([2, 0, 0, 0, 0, 2])));
        Pair { wire, a, b }
    });
}
