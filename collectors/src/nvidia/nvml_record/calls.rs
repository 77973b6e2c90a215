//! Every call of one answer that is recorded: what it takes, what it gives, and how often it is asked.

use std::fmt;

use nvml_wrapper_sys::bindings as sys;
use nvml_wrapper_sys::bindings::NvmlLib;

use super::raw::{self, Handle, Room};

/// A code and what came with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// `nvmlReturn_t`.
    pub code: u32,
    /// Nothing where it is not 0.
    pub values: Vec<Value>,
}

impl Answer {
    /// A success with one number.
    pub fn of_number(number: u64) -> Self {
        Self {
            code: 0,
            values: vec![Value::Number(number)],
        }
    }

    /// A refusal.
    pub fn refused(code: u32) -> Self {
        Self {
            code,
            values: vec![],
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An integer of four or eight bytes.
    Number(u64),
    /// A double.
    Float(f64),
    /// A structure, byte by byte; of the second kind, its version comes first.
    Plain(Vec<u8>),
    /// The same.
    Versioned(Vec<u8>),
    /// A text.
    Text(String),
    /// A row of a list.
    Row(Vec<i64>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = |kind: char, bytes: &[u8]| {
            write!(f, "{kind}")?;
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Plain(bytes) => hex('x', bytes),
            Self::Versioned(bytes) => hex('v', bytes),
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Row(row) => {
                let row: Vec<_> = row.iter().map(i64::to_string).collect();
                write!(f, "[{}]", row.join(","))
            }
        }
    }
}

/// A call.
pub struct Call {
    /// Its name in nvml.h.
    pub name: &'static str,
    takes: Takes,
    gives: Gives,
}

/// What goes in.
enum Takes {
    Nothing,
    /// These, one after the other.
    Each(&'static [&'static [u32]]),
    /// The number of every link there may be.
    Links,
    /// The same with every number below this one.
    LinksBy(u32),
}

impl Takes {
    fn all(&self) -> Vec<Vec<u32>> {
        match self {
            Self::Nothing => vec![vec![]],
            Self::Each(all) => all.iter().map(|some| some.to_vec()).collect(),
            Self::Links => (0..MOST_LINKS).map(|link| vec![link]).collect(),
            Self::LinksBy(kinds) => (0..MOST_LINKS)
                .flat_map(|link| (0..*kinds).map(move |kind| vec![link, kind]))
                .collect(),
        }
    }
}

/// What comes out.
enum Gives {
    /// So many integers of four bytes.
    Integers(usize),
    /// One of eight.
    Long,
    /// A structure of that size.
    Plain(usize),
    /// One whose first member the caller sets: its version.
    Versioned(usize, u32),
    /// A text of at most that length.
    Text(u32),
}

impl Call {
    /// Asks it of one GPU with all its arguments.
    pub fn each(&self, lib: &NvmlLib, handle: Handle, mut tell: impl FnMut(&[u64], Answer)) {
        for arguments in self.takes.all() {
            let answer = self.ask(lib, Some(handle), &arguments);
            let arguments: Vec<u64> = arguments.iter().map(|n| (*n).into()).collect();
            tell(&arguments, answer);
        }
    }

    /// Asks it of the driver.
    pub fn each_of_system(&self, lib: &NvmlLib, mut tell: impl FnMut(Answer)) {
        tell(self.ask(lib, None, &[]));
    }

    fn ask(&self, lib: &NvmlLib, handle: Option<Handle>, arguments: &[u32]) -> Answer {
        let (count, version) = match self.gives {
            Gives::Text(length) => {
                // SAFETY: the table says that it is such a function.
                return match unsafe { raw::text(lib, self.name, handle, length) } {
                    Ok(text) => Answer {
                        code: 0,
                        values: vec![Value::Text(text)],
                    },
                    Err(code) => Answer::refused(code),
                };
            }
            Gives::Integers(count) => (count, 0),
            Gives::Long | Gives::Plain(_) => (1, 0),
            Gives::Versioned(_, version) => (1, version),
        };
        let mut rooms: Vec<Room> = vec![[0; 32]; count];
        // Little-endian, as all machines with such GPUs are: the version is in the first four bytes.
        rooms[0][0] = version.into();
        // SAFETY: the table says that the function takes these arguments and gives what fits into these rooms.
        let code = unsafe { raw::call(lib, self.name, handle, arguments, &mut rooms) };
        if code != 0 {
            return Answer::refused(code);
        }
        let small = |room: &Room| Value::Number(room[0] & u64::from(u32::MAX));
        let values = match self.gives {
            Gives::Integers(_) => rooms.iter().map(small).collect(),
            Gives::Long => vec![Value::Number(rooms[0][0])],
            Gives::Plain(size) => vec![Value::Plain(raw::bytes(&rooms[0], size))],
            Gives::Versioned(size, _) => vec![Value::Versioned(raw::bytes(&rooms[0], size))],
            Gives::Text(_) => vec![],
        };
        Answer { code, values }
    }
}

/// More links than any board has.
pub const MOST_LINKS: u32 = 36;

const FOUR: Takes = Takes::Each(&[&[0], &[1], &[2], &[3]]);
const THRESHOLDS: Takes = Takes::Each(&[&[0], &[1], &[2], &[3], &[4], &[5], &[6], &[7]]);
const ECC: Takes = Takes::Each(&[&[0, 0], &[0, 1], &[1, 0], &[1, 1]]);

const fn call(name: &'static str, takes: Takes, gives: Gives) -> Call {
    Call { name, takes, gives }
}

const fn integers(name: &'static str, count: usize) -> Call {
    call(name, Takes::Nothing, Gives::Integers(count))
}

const fn integer(name: &'static str) -> Call {
    integers(name, 1)
}

const fn integer_by(name: &'static str, takes: Takes) -> Call {
    call(name, takes, Gives::Integers(1))
}

const fn long(name: &'static str) -> Call {
    call(name, Takes::Nothing, Gives::Long)
}

const fn plain<T>(name: &'static str) -> Call {
    call(name, Takes::Nothing, Gives::Plain(fitting::<T>()))
}

/// The size of a structure, for which there must be room; else this does not compile.
const fn fitting<T>() -> usize {
    assert!(size_of::<T>() <= size_of::<Room>());
    size_of::<T>()
}

/// A structure with its size and version in its first member, as nvml.h's NVML_STRUCT_VERSION.
const fn versioned<T>(name: &'static str, version: u32) -> Call {
    let size = fitting::<T>();
    call(
        name,
        Takes::Nothing,
        Gives::Versioned(size, size as u32 | version << 24),
    )
}

const fn text(name: &'static str, length: u32) -> Call {
    call(name, Takes::Nothing, Gives::Text(length))
}

/// Of the driver, once.
pub const SYSTEM: &[Call] = &[
    text("nvmlSystemGetDriverVersion", 80),
    text("nvmlSystemGetNVMLVersion", 80),
    integer("nvmlSystemGetCudaDriverVersion_v2"),
    integer("nvmlDeviceGetCount_v2"),
    plain::<sys::nvmlConfComputeSystemState_t>("nvmlSystemGetConfComputeState"),
];

/// Of a GPU, once.
pub const ONCE: &[Call] = &[
    text("nvmlDeviceGetName", 96),
    text("nvmlDeviceGetUUID", 96),
    text("nvmlDeviceGetSerial", 30),
    text("nvmlDeviceGetVbiosVersion", 32),
    text("nvmlDeviceGetBoardPartNumber", 80),
    text("nvmlDeviceGetInforomImageVersion", 16),
    integer("nvmlDeviceGetBrand"),
    integer("nvmlDeviceGetArchitecture"),
    integers("nvmlDeviceGetCudaComputeCapability", 2),
    integer("nvmlDeviceGetNumGpuCores"),
    integer("nvmlDeviceGetMemoryBusWidth"),
    integer("nvmlDeviceGetMinorNumber"),
    integer("nvmlDeviceGetMultiGpuBoard"),
    integer("nvmlDeviceGetModuleId"),
    integer("nvmlDeviceGetBusType"),
    integer("nvmlDeviceGetNumFans"),
    integer("nvmlDeviceGetMaxMigDeviceCount"),
    integer("nvmlDeviceGetMaxPcieLinkGeneration"),
    integer("nvmlDeviceGetGpuMaxPcieLinkGeneration"),
    integer("nvmlDeviceGetMaxPcieLinkWidth"),
    integer("nvmlDeviceGetPcieLinkMaxSpeed"),
    integer("nvmlDeviceGetPowerManagementDefaultLimit"),
    integers("nvmlDeviceGetPowerManagementLimitConstraints", 2),
    integers("nvmlDeviceGetGspFirmwareMode", 2),
    integer_by("nvmlDeviceGetMaxClockInfo", FOUR),
    integer_by("nvmlDeviceGetTemperatureThreshold", THRESHOLDS),
    integer_by("nvmlDeviceGetNvLinkVersion", Takes::Links),
    long("nvmlDeviceGetSupportedEventTypes"),
    long("nvmlDeviceGetSupportedClocksEventReasons"),
    plain::<sys::nvmlPciInfo_t>("nvmlDeviceGetPciInfo_v3"),
    call(
        "nvmlGpmQueryDeviceSupport",
        Takes::Nothing,
        Gives::Versioned(
            size_of::<sys::nvmlGpmSupport_t>(),
            sys::NVML_GPM_SUPPORT_VERSION,
        ),
    ),
];

/// Of a GPU, every few seconds: what hardly moves, or takes the driver long.
pub const SOMETIMES: &[Call] = &[
    integer("nvmlDeviceGetEnforcedPowerLimit"),
    integer("nvmlDeviceGetPowerManagementLimit"),
    integer("nvmlDeviceGetPowerManagementMode"),
    integer("nvmlDeviceGetComputeMode"),
    integer("nvmlDeviceGetPersistenceMode"),
    integer("nvmlDeviceGetDisplayMode"),
    integer("nvmlDeviceGetDisplayActive"),
    integer("nvmlDeviceGetAccountingMode"),
    integer("nvmlDeviceGetVirtualizationMode"),
    integers("nvmlDeviceGetEccMode", 2),
    integers("nvmlDeviceGetMigMode", 2),
    plain::<sys::nvmlBAR1Memory_t>("nvmlDeviceGetBAR1MemoryInfo"),
    integer("nvmlDeviceGetCurrPcieLinkGeneration"),
    integer("nvmlDeviceGetCurrPcieLinkWidth"),
    integer("nvmlDeviceGetPcieSpeed"),
    integer("nvmlDeviceGetPcieReplayCounter"),
    integer_by("nvmlDeviceGetPcieThroughput", Takes::Each(&[&[0], &[1]])),
    integer("nvmlDeviceGetFanSpeed"),
    integer_by("nvmlDeviceGetFanSpeed_v2", Takes::Each(&[&[0]])),
    call("nvmlDeviceGetTotalEccErrors", ECC, Gives::Long),
    integers("nvmlDeviceGetRemappedRows", 4),
    plain::<sys::nvmlRowRemapperHistogramValues_t>("nvmlDeviceGetRowRemapperHistogram"),
    integer("nvmlDeviceGetRetiredPagesPendingStatus"),
    versioned::<sys::nvmlEccSramErrorStatus_t>("nvmlDeviceGetSramEccErrorStatus", 1),
    versioned::<sys::nvmlRepairStatus_t>("nvmlDeviceGetRepairStatus", 1),
    plain::<sys::nvmlGpuFabricInfo_t>("nvmlDeviceGetGpuFabricInfo"),
    versioned::<sys::nvmlGpuFabricInfo_v2_t>("nvmlDeviceGetGpuFabricInfoV", 2),
    plain::<sys::nvmlC2cModeInfo_v1_t>("nvmlDeviceGetC2cModeInfoV"),
    integers("nvmlDeviceGetJpgUtilization", 2),
    integers("nvmlDeviceGetOfaUtilization", 2),
    integer_by("nvmlDeviceGetNvLinkState", Takes::Links),
    call(
        "nvmlDeviceGetNvLinkErrorCounter",
        Takes::LinksBy(4),
        Gives::Long,
    ),
];

/// Of a GPU, every second.
pub const ALWAYS: &[Call] = &[
    plain::<sys::nvmlUtilization_t>("nvmlDeviceGetUtilizationRates"),
    integers("nvmlDeviceGetEncoderUtilization", 2),
    integers("nvmlDeviceGetDecoderUtilization", 2),
    plain::<sys::nvmlMemory_t>("nvmlDeviceGetMemoryInfo"),
    versioned::<sys::nvmlMemory_v2_t>("nvmlDeviceGetMemoryInfo_v2", 2),
    integer("nvmlDeviceGetPowerUsage"),
    long("nvmlDeviceGetTotalEnergyConsumption"),
    integer_by("nvmlDeviceGetTemperature", Takes::Each(&[&[0]])),
    versioned::<sys::nvmlTemperature_t>("nvmlDeviceGetTemperatureV", 1),
    versioned::<sys::nvmlMarginTemperature_t>("nvmlDeviceGetMarginTemperature", 1),
    integer_by("nvmlDeviceGetClockInfo", FOUR),
    integer("nvmlDeviceGetPerformanceState"),
    integer("nvmlDeviceGetPowerState"),
    long("nvmlDeviceGetCurrentClocksEventReasons"),
    long("nvmlDeviceGetCurrentClocksThrottleReasons"),
];

/// Of a MIG instance, every few seconds.
pub const INSTANCE: &[Call] = &[
    text("nvmlDeviceGetName", 96),
    text("nvmlDeviceGetUUID", 96),
    integer("nvmlDeviceGetGpuInstanceId"),
    integer("nvmlDeviceGetComputeInstanceId"),
    plain::<sys::nvmlMemory_t>("nvmlDeviceGetMemoryInfo"),
    versioned::<sys::nvmlMemory_v2_t>("nvmlDeviceGetMemoryInfo_v2", 2),
    plain::<sys::nvmlBAR1Memory_t>("nvmlDeviceGetBAR1MemoryInfo"),
];
