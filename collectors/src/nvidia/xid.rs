//! XID errors: what the driver's numbers mean, whose fault each is, and what to do. From NVIDIA's public
//! catalogue of XIDs, in our words.

/// Whose fault an error is, and with it how urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A program's own: it ends, the GPU goes on.
    User,
    /// The board's: data or links are damaged, the GPU goes on.
    Hardware,
    /// The GPU does not go on without a reset, a reboot or a replacement.
    Fatal,
    /// News, or a number without a known cause.
    Other,
}

impl Class {
    /// The dimension under which it is charted.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Hardware => "hardware",
            Self::Fatal => "fatal",
            Self::Other => "other",
        }
    }
}

/// What is known of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The driver's number.
    pub xid: u64,
    /// Whose fault.
    pub class: Class,
    /// What happened.
    pub what: &'static str,
    /// What to do.
    pub todo: &'static str,
}

/// What is said of a number that is not listed.
const UNKNOWN: Meaning = other(
    0,
    "an error that is not in our list",
    "look its number up in NVIDIA's catalogue of XID errors",
);

/// What `xid` means.
pub fn meaning(xid: u64) -> Meaning {
    let known = KNOWN.binary_search_by_key(&xid, |meaning| meaning.xid);
    let meaning = known.map_or(UNKNOWN, |at| KNOWN[at]);
    Meaning { xid, ..meaning }
}

const DEBUG: &str =
    "look at the program that ran there; if several programs fail so, run a diagnosis of the GPU";
const RESET: &str = "end what runs there and reset the GPU; if it comes back, ask the vendor";
const REBOOT: &str = "reboot the host; if it comes back, ask the vendor for a replacement";
const WATCH: &str = "nothing now; if it happens often, ask the vendor";
const LINKS: &str = "see nvidia.nvlink_errors; end what uses several GPUs and reset them; if it comes back, ask the vendor";

const fn user(xid: u64, what: &'static str) -> Meaning {
    entry(xid, Class::User, what, DEBUG)
}

const fn hardware(xid: u64, what: &'static str, todo: &'static str) -> Meaning {
    entry(xid, Class::Hardware, what, todo)
}

const fn fatal(xid: u64, what: &'static str, todo: &'static str) -> Meaning {
    entry(xid, Class::Fatal, what, todo)
}

const fn other(xid: u64, what: &'static str, todo: &'static str) -> Meaning {
    entry(xid, Class::Other, what, todo)
}

const fn entry(xid: u64, class: Class, what: &'static str, todo: &'static str) -> Meaning {
    Meaning {
        xid,
        class,
        what,
        todo,
    }
}

/// In the order of their numbers.
const KNOWN: &[Meaning] = &[
    user(8, "a program's work did not end in time"),
    user(
        13,
        "a program did something illegal on the GPU, such as an access out of bounds",
    ),
    user(31, "a program used an address that is not mapped"),
    other(32, "a broken stream of commands reached the GPU", DEBUG),
    other(38, "the driver's firmware met an error", RESET),
    user(43, "the GPU stopped a program after an error of its own"),
    other(
        44,
        "an error while the GPU changed from one program to another",
        DEBUG,
    ),
    user(45, "a program was removed after an earlier error"),
    hardware(48, "an error in memory that could not be corrected", RESET),
    fatal(61, "a controller inside the GPU stopped for a while", RESET),
    fatal(62, "a controller inside the GPU halted", RESET),
    hardware(
        63,
        "a bad row or page of memory was recorded for replacement",
        "reset the GPU when it suits you: see nvidia.memory_repair",
    ),
    fatal(
        64,
        "a bad row or page of memory could not be recorded for replacement",
        RESET,
    ),
    other(65, "an error in a video processor", DEBUG),
    other(66, "the driver accessed what it may not", DEBUG),
    other(67, "the driver accessed what it may not", DEBUG),
    user(68, "an error in the video decoder"),
    user(69, "a program sent a command that the GPU does not know"),
    hardware(74, "an error on an NVLink", LINKS),
    fatal(79, "the GPU fell off the bus", REBOOT),
    hardware(92, "many errors in memory were corrected", WATCH),
    hardware(
        93,
        "the data stored on the board could not be changed",
        WATCH,
    ),
    hardware(
        94,
        "an error in memory ended one program; the others are safe",
        "start that program again; reset the GPU when it suits you",
    ),
    fatal(
        95,
        "an error in memory could not be kept to one program",
        RESET,
    ),
    user(109, "a program could not be changed for another in time"),
    fatal(110, "a security check of the GPU failed", REBOOT),
    fatal(119, "the GPU's system processor does not answer", RESET),
    fatal(120, "the GPU's system processor met an error", RESET),
    hardware(
        121,
        "errors on the link between CPU and GPU were corrected",
        WATCH,
    ),
    fatal(122, "the board's flash memory could not be read", RESET),
    fatal(
        123,
        "the board's power management could not be reached",
        RESET,
    ),
    fatal(136, "a link could not be trained", RESET),
    user(137, "a program used memory of another GPU that it may not"),
    fatal(140, "an error in memory was not recovered from", RESET),
    fatal(143, "the GPU could not be initialised", REBOOT),
    hardware(144, "an error in an NVLink's switch interface", LINKS),
    hardware(145, "an error in an NVLink's receiver", LINKS),
    hardware(146, "an error in an NVLink's transmitter", LINKS),
    hardware(147, "an error in an NVLink's routing", LINKS),
    hardware(148, "an error in an NVLink's power control", LINKS),
    hardware(149, "an error in an NVLink's network interface", LINKS),
    hardware(150, "an error in an NVLink's management", LINKS),
    other(
        154,
        "what the GPU needs to recover has changed",
        "see nvidia.recovery_action",
    ),
    hardware(155, "an NVLink was declared bad", LINKS),
    hardware(156, "a part of the GPU was retired", WATCH),
    fatal(157, "a part of the GPU could not be retired", RESET),
    fatal(158, "the GPU did not answer in time", RESET),
    hardware(
        160,
        "a channel of memory was retired",
        "reset the GPU when it suits you",
    ),
    fatal(161, "a channel of memory could not be retired", RESET),
    fatal(167, "the PCI Express link did not answer in time", REBOOT),
    hardware(171, "an error in memory that could not be corrected", RESET),
    hardware(
        172,
        "an error in the GPU's internal memory that could not be corrected",
        RESET,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_order_so_that_each_is_found() {
        assert!(KNOWN.is_sorted_by(|a, b| a.xid < b.xid));
        assert!(KNOWN.iter().all(|known| meaning(known.xid) == *known));
    }

    #[test]
    fn a_programs_fault_is_told_from_the_boards() {
        for (xid, class) in [
            (13, Class::User),
            (31, Class::User),
            (48, Class::Hardware),
            (79, Class::Fatal),
            (95, Class::Fatal),
            (154, Class::Other),
        ] {
            assert_eq!(meaning(xid).class, class, "{xid}");
        }
    }

    #[test]
    fn a_number_of_the_future_is_told_with_where_to_look() {
        let unknown = meaning(4711);
        assert_eq!((unknown.xid, unknown.class), (4711, Class::Other));
        assert!(unknown.todo.contains("catalogue"));
    }
}
