//! Scenarios: machines with simulated boards, well and with faults.

/// A board that tells enough to be charted.
const SIMPLE: &str = r#"    memory: {total_mib: 1000, reserved_mib: 100}
    readings: {gpu_utilization: 90, memory_utilization: 40, power_w: 300, temperature_c: 55}
"#;

/// One that tells all that there is, nothing of it 0.
const RICH: &str = r#"    memory: {total_mib: 1000, reserved_mib: 100}
    bar1: {total_mib: 64, used_mib: 2}
    power_limit_w: {min: 100, max: 600, default: 500}
    temperature_thresholds_c: {shutdown: 95, slowdown: 92, memory_max: 95, gpu_max: 85}
    pcie: {generation: 4, width: 8, max_generation: 5, max_width: 16, replays: 3}
    ecc: {corrected: 2, uncorrected: 1, remapped_corrected: 3, remapped_uncorrected: 1, remap_pending: 1, remap_failed: 1}
    nvlink: {links: 4, tx_mb_s: 900, rx_mb_s: 800, replays: 1, recoveries: 2, crc_errors: 3}
    mig_capable: true
    readings:
      gpu_utilization: 90
      memory_utilization: 40
      encoder_utilization: 11
      decoder_utilization: 12
      jpeg_utilization: 13
      ofa_utilization: 14
      memory_base_mib: 50
      power_w: 300
      temperature_c: 55
      memory_temperature_c: 65
      fan_percent: 35
      clock_event_reasons: 4
      performance_state: 2
      clocks_mhz: {graphics: 1700, sm: 1600, memory: 3200, video: 1500}
      activity: {sm: 80, occupancy: 30, tensor: 40, dram: 60}
      recovery_action: 1
      compute_mode: 3
      pcie_tx_mb_s: 700
      pcie_rx_mb_s: 500
"#;

/// A machine. Its GPUs are `GPU-0`, `GPU-1`, ….
#[derive(Clone, Debug)]
pub struct Machine {
    board: &'static str,
    driver: &'static str,
    /// Of each GPU, by its number, which is its place too: what its entry says more, as `, key: value`.
    pub gpus: Vec<(usize, String)>,
    faults: Vec<String>,
    more: String,
    /// A whole file, in place of all of these.
    file: Option<String>,
}

impl Machine {
    /// As a file has it.
    pub fn of_file(text: String) -> Self {
        Self {
            file: Some(text),
            ..Self::simple(0)
        }
    }

    /// With so many boards that tell enough.
    pub fn simple(gpus: usize) -> Self {
        Self {
            board: SIMPLE,
            driver: "580.95.05",
            gpus: (0..gpus).map(|number| (number, String::new())).collect(),
            faults: vec![],
            more: String::new(),
            file: None,
        }
    }

    /// With so many boards that tell everything, and hold a process: this one.
    pub fn rich(gpus: usize) -> Self {
        let own = std::process::id();
        let process = format!(", processes: [{{pid: {own}, memory_mib: 200, sm: 40}}]");
        let mut machine = Self::simple(gpus);
        machine.board = RICH;
        machine.each(|_| process.clone())
    }

    /// The same, whose GPUs' entries say more.
    pub fn each(mut self, more: impl Fn(usize) -> String) -> Self {
        for (number, entry) in &mut self.gpus {
            *entry += &more(*number);
        }
        self
    }

    /// The same, with more in the entry of one GPU.
    pub fn with(self, gpu: usize, more: &str) -> Self {
        self.each(|number| match number == gpu {
            true => more.to_owned(),
            false => String::new(),
        })
    }

    /// The same with another fault, as the scenario has it between braces.
    pub fn fault(mut self, fault: impl std::fmt::Display) -> Self {
        self.faults.push(format!("{{{fault}}}"));
        self
    }

    /// The same under another driver.
    pub fn driver(self, driver: &'static str) -> Self {
        Self { driver, ..self }
    }

    /// The same with another line at the top of the file.
    pub fn line(mut self, line: impl std::fmt::Display) -> Self {
        self.more += &format!("{line}\n");
        self
    }

    /// The file.
    pub fn text(&self) -> String {
        let Self {
            board,
            driver,
            gpus,
            faults,
            more,
            file,
        } = self;
        if let Some(file) = file {
            return file.clone();
        }
        let gpus: String = gpus
            .iter()
            .map(|(number, more)| {
                format!(
                    "  - {{model: board, uuid: GPU-{number}, pci_bus_id: \"00000000:{number:02X}:00.0\"{more}}}\n"
                )
            })
            .collect();
        format!(
            "driver_version: {driver}\ncuda_version: \"13.0\"\n{more}faults: [{}]\nmodels:\n  board:\n    \
             name: Board (simulated)\n    compute_capability: \"9.0\"\n{board}gpus:\n{gpus}",
            faults.join(", ")
        )
    }
}
