//! Scenarios of the simulated GPUs: all well, or each with troubles of its own.

/// How the GPUs fare.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// All well.
    Well,
    /// As [`TROUBLES`] say.
    Ill,
    /// The driver is gone.
    NoDriver,
}

/// What is special about a GPU when they are ill.
struct Trouble {
    ecc: &'static str,
    readings: &'static str,
    pcie_width: u32,
    xids: &'static str,
    fault: Option<u32>,
}

const NONE: Trouble = Trouble {
    ecc: "corrected: 0, uncorrected: 0, remapped_corrected: 0, remapped_uncorrected: 0, remap_pending: 0, remap_failed: 0",
    readings: "recovery_action: 0, clock_event_reasons: 0, gpu_utilization: 30",
    pcie_width: 16,
    xids: "",
    fault: None,
};

/// Number of the GPU whose troubles must page nobody.
pub const BENIGN: usize = 5;

/// By GPU.
const TROUBLES: [Trouble; 6] = [
    // Lost.
    Trouble {
        fault: Some(15),
        ..NONE
    },
    // Reset required.
    Trouble {
        fault: Some(16),
        ..NONE
    },
    // Answers with an error that says nothing.
    Trouble {
        fault: Some(999),
        ..NONE
    },
    // Everything about its memory and its clocks, at once.
    Trouble {
        ecc: "corrected: 9, uncorrected: 3, remapped_corrected: 0, remapped_uncorrected: 1, remap_pending: 1, remap_failed: 1",
        readings: "recovery_action: 1, clock_event_reasons: 0xE4, gpu_utilization: 30",
        pcie_width: 8,
        ..NONE
    },
    // Off the bus, by its own account; then a link's error. Nothing runs and memory is held.
    Trouble {
        readings: "recovery_action: 0, clock_event_reasons: 0, gpu_utilization: 0",
        xids: "{xid: 79, every_s: 15}, {xid: 74, every_s: 17}",
        ..NONE
    },
    // Users' faults, corrected errors, a row to be replaced some day, and the power limit.
    Trouble {
        ecc: "corrected: 9, uncorrected: 0, remapped_corrected: 1, remapped_uncorrected: 0, remap_pending: 1, remap_failed: 0",
        readings: "recovery_action: 0, clock_event_reasons: 4, gpu_utilization: 100",
        xids: "{xid: 13, every_s: 20}, {xid: 31, every_s: 21}, {xid: 43, every_s: 22}, \
               {xid: 45, every_s: 23}",
        ..NONE
    },
];

/// Chart ids of GPU `number` begin so.
pub fn prefix(number: usize) -> String {
    format!("nvidia.gpu_gpu-00000000-0000-0000-0000-00000000000{number}_")
}

/// The scenario's file.
pub fn scenario(fate: Fate) -> String {
    let mut text = String::from("driver_version: 580.95.05\ncuda_version: \"13.0\"\nmodels:\n");
    let troubles = TROUBLES.each_ref().map(|trouble| match fate {
        Fate::Ill => trouble,
        _ => &NONE,
    });
    for (number, trouble) in troubles.iter().enumerate() {
        text += &format!(
            "  m{number}:\n    name: Board {number} (simulated)\n    compute_capability: '9.0'\n    \
             memory: {{total_mib: 80000, reserved_mib: 500}}\n    \
             pcie: {{generation: 5, width: {}, max_generation: 5, max_width: 16}}\n    \
             ecc: {{{}}}\n    readings: {{{}, power_w: 100, temperature_c: 40}}\n",
            trouble.pcie_width, trouble.ecc, trouble.readings
        );
    }
    text += "gpus:\n";
    for (number, trouble) in troubles.iter().enumerate() {
        text += &format!(
            "  - model: m{number}\n    uuid: GPU-00000000-0000-0000-0000-00000000000{number}\n    \
             pci_bus_id: '0000:0{number}:00.0'\n    xids: [{}]\n    \
             processes: [{{pid: 1, memory_mib: 1000, sm: 0}}]\n",
            trouble.xids
        );
    }
    // What leads to a GPU goes on as usual: the first fault that fits is taken, and these do nothing.
    let leads = ["Handle*", "UUID", "Name", "Index"];
    let mut faults: Vec<String> = leads
        .map(|what| format!("{{call: 'nvmlDeviceGet{what}'}}"))
        .into();
    let of_gpus = troubles.iter().enumerate().filter_map(|(number, trouble)| {
        let code = trouble.fault?;
        Some(format!(
            "{{call: 'nvmlDeviceGet*', gpu: {number}, code: {code}}}"
        ))
    });
    faults.extend(of_gpus);
    match fate {
        Fate::NoDriver => faults.push("{call: 'nvmlDeviceGetCount*', code: 9}".to_owned()),
        Fate::Well | Fate::Ill => {}
    }
    text + &format!("faults: [{}]\n", faults.join(", "))
}
