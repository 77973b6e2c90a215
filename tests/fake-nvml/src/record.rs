//! A record of a real machine's answers, as `rs.d.plugin --record-nvml` writes it, in place of a scenario. Each
//! call answers what it answered then, at the same distance from the record's beginning; after its end it begins
//! again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use self::values::tokens;
pub use self::values::{Recorded, Token};
use crate::ffi::{Code, NOT_SUPPORTED};

mod values;

/// The first line of a record.
pub const FIRST_LINE: &str = "nvml-record 1";

/// Counters, which between two answers have what lies between: else the rate of one that was read each second would
/// be twice too high or 0 whenever it is played out of step. And fields that count.
const COUNTERS: &[&str] = &["nvmlDeviceGetTotalEnergyConsumption"];
const COUNTING_FIELDS: &[u64] = &[
    74, 75, 76, 83, 138, 139, 191, 197, 198, 202, 204, 251, 252, 253, 269, 270, 271,
];
/// Longer than that apart, one did not grow all the time.
const COUNTS_ON_S: f64 = 3.0;

/// GPU (`0`, an instance of it `0.1`, the system `-`), name and arguments.
type Key = (String, String, Vec<u64>);

/// The whole record.
#[derive(Debug, Default)]
pub struct Record {
    /// How long it is.
    seconds: f64,
    /// When it is played from its beginning, Unix seconds.
    from_s: f64,
    /// Where the clock stands still, if it does.
    pub now_s: Option<f64>,
    /// By call, each answer with the seconds since the beginning from when on it held.
    answers: BTreeMap<Key, Vec<(f64, Recorded)>>,
}

impl Record {
    /// Whether a file is a record.
    pub fn is_one(text: &str) -> bool {
        text.starts_with(FIRST_LINE)
    }

    /// Reads one, line by line. The error names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut record = Self::default();
        for (number, line) in text.lines().enumerate().skip(1) {
            record
                .line(line)
                .ok_or_else(|| format!("line {}: {line:.60}", number + 1))?;
        }
        if record.seconds > 0.0 {
            Ok(record)
        } else {
            Err("a record without its length in seconds".to_owned())
        }
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Some(());
        }
        if let Some(seconds) = line.strip_prefix("seconds ") {
            self.seconds = seconds.parse().ok()?;
            return Some(());
        }
        if let Some(from) = line.strip_prefix("from ") {
            self.from_s = from.parse().ok()?;
            return Some(());
        }
        if let Some(now) = line.strip_prefix("now ") {
            self.now_s = Some(now.parse().ok()?);
            return Some(());
        }
        let mut parts = line.splitn(5, ' ');
        let at_ms: f64 = parts.next()?.parse().ok()?;
        let (gpu, call, code) = (parts.next()?, parts.next()?, parts.next()?);
        let (name, arguments) = call.strip_suffix(')')?.split_once('(')?;
        let arguments = match arguments {
            "" => vec![],
            some => some
                .split(',')
                .map(|n| n.parse().ok())
                .collect::<Option<_>>()?,
        };
        let recorded = Recorded {
            code: code.parse().ok()?,
            values: tokens(parts.next().unwrap_or(""))?,
        };
        let key = (gpu.to_owned(), name.to_owned(), arguments);
        self.answers
            .entry(key)
            .or_default()
            .push((at_ms / 1000.0, recorded));
        Some(())
    }

    /// When what plays now began, and the place in the record; Unix seconds and seconds.
    pub fn place(&self, now_s: f64) -> (f64, f64) {
        let place = (now_s - self.from_s).rem_euclid(self.seconds);
        (now_s - place, place)
    }

    /// What a call answers now: as it last did up to this place in the record, or first.
    pub fn at(
        &self,
        gpu: &str,
        name: &str,
        arguments: &[u64],
        now_s: f64,
    ) -> Result<Cow<'_, Recorded>, Code> {
        let key = (gpu.to_owned(), name.to_owned(), arguments.to_vec());
        let all = self.answers.get(&key).ok_or(NOT_SUPPORTED)?;
        let (_, place) = self.place(now_s);
        let later = all.iter().position(|(at, _)| *at > place);
        let (at, recorded) = &all[later.unwrap_or(all.len()).saturating_sub(1)];
        if recorded.code != 0 {
            return Err(Code(recorded.code));
        }
        let counting = arguments
            .first()
            .is_some_and(|id| COUNTING_FIELDS.contains(id));
        let counts = COUNTERS.contains(&name) || (name == "nvmlDeviceGetFieldValues" && counting);
        Ok(match later.and_then(|later| all.get(later)) {
            Some((until, next)) if counts && *at <= place && until - at <= COUNTS_ON_S => {
                Cow::Owned(recorded.towards(next, (place - at) / (until - at)))
            }
            _ => Cow::Borrowed(recorded),
        })
    }

    /// Whether a call was asked at all.
    pub fn has(&self, gpu: &str, name: &str) -> bool {
        let key = (gpu.to_owned(), name.to_owned(), vec![]);
        self.answers.contains_key(&key)
    }

    /// Every row of a list up to this place, with the moment it was answered.
    pub fn rows_until<'a>(
        &'a self,
        gpu: &str,
        name: &str,
        arguments: &[u64],
        now_s: f64,
    ) -> impl Iterator<Item = &'a [i64]> {
        let key = (gpu.to_owned(), name.to_owned(), arguments.to_vec());
        let (_, place) = self.place(now_s);
        let all = self.answers.get(&key).map(Vec::as_slice);
        let until = all.unwrap_or_default().iter();
        until
            .take_while(move |(at, _)| *at <= place)
            .flat_map(|(_, recorded)| recorded.rows())
    }

    fn text(&self, gpu: &str, name: &str) -> Option<&str> {
        let key = (gpu.to_owned(), name.to_owned(), vec![]);
        match self.answers.get(&key)?.first()?.1.values.first()? {
            Token::Text(text) => Some(text),
            _ => None,
        }
    }

    fn number(&self, gpu: &str, name: &str) -> Option<u64> {
        self.at(gpu, name, &[], self.from_s).ok()?.number(0)
    }

    /// Whether the machine computed confidentially, from the structure's second number.
    pub fn confidential_compute(&self) -> Option<bool> {
        let state = self.at("-", "nvmlSystemGetConfComputeState", &[], self.from_s);
        match state.ok()?.values.first()? {
            Token::Plain(bytes) => Some(bytes.get(4..8)?.iter().any(|byte| *byte != 0)),
            _ => None,
        }
    }

    /// A scenario with the machine's GPUs, and nothing that they read.
    pub fn scenario(&self) -> String {
        let system = |name| self.text("-", name).unwrap_or("0");
        let cuda = self.number("-", "nvmlSystemGetCudaDriverVersion_v2");
        let cuda = cuda.unwrap_or(0);
        let mut text = format!(
            "driver_version: {}\nnvml_version: {}\ncuda_version: '{}.{}'\nmodels:\n  recorded: {{name: Recorded, \
             compute_capability: '0.0', memory: {{total_mib: 0, reserved_mib: 0}}}}\n",
            system("nvmlSystemGetDriverVersion"),
            system("nvmlSystemGetNVMLVersion"),
            cuda / 1000,
            cuda % 1000 / 10
        );
        let count = self.number("-", "nvmlDeviceGetCount_v2").unwrap_or(0);
        text.push_str(if count == 0 { "gpus: []\n" } else { "gpus:\n" });
        for gpu in (0..count).map(|index| index.to_string()) {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "  - {{model: recorded, uuid: '{}', pci_bus_id: '{}', xids: [{}]{}}}",
                self.text(&gpu, "nvmlDeviceGetUUID")
                    .unwrap_or("GPU-unknown"),
                self.pci_bus_id(&gpu),
                self.xids(&gpu),
                self.instances(&gpu)
            );
        }
        text
    }

    /// From the structure of version 3: the domain, bus and device follow the older, short text.
    fn pci_bus_id(&self, gpu: &str) -> String {
        let info = self.at(gpu, "nvmlDeviceGetPciInfo_v3", &[], self.from_s);
        let bytes = match info.as_ref().map(|info| info.values.first()) {
            Ok(Some(Token::Plain(bytes))) => bytes.as_slice(),
            _ => &[],
        };
        let word = |at: usize| {
            let word = bytes.get(at..at + 4)?;
            Some(u32::from_le_bytes(word.try_into().ok()?))
        };
        let part = |at| word(at).unwrap_or(0);
        format!("{:08X}:{:02X}:{:02X}.0", part(16), part(20), part(24))
    }

    /// Each happens again as often as the record is played.
    fn xids(&self, gpu: &str) -> String {
        let key = (gpu.to_owned(), "nvmlEventSetWait_v2".to_owned(), vec![]);
        let all = self.answers.get(&key).map(Vec::as_slice);
        let xid = |(at, recorded): &(f64, Recorded)| {
            let xid = recorded.number(0)?;
            Some(format!(
                "{{xid: {xid}, at_s: {}, every_s: {}}}",
                self.from_s + at,
                self.seconds
            ))
        };
        let xids: Vec<_> = all.unwrap_or_default().iter().filter_map(xid).collect();
        xids.join(", ")
    }

    fn instances(&self, gpu: &str) -> String {
        let split = self.number(gpu, "nvmlDeviceGetMigMode") == Some(1);
        let mut instances = vec![];
        for index in 0.. {
            let part = format!("{gpu}.{index}");
            let Some(uuid) = self.text(&part, "nvmlDeviceGetUUID") else {
                break;
            };
            let id = |name| self.number(&part, name).unwrap_or(0);
            instances.push(format!(
                "{{gpu_instance: {}, compute_instance: {}, uuid: '{uuid}', profile: recorded, memory_mib: 0, \
                 used_mib: 0}}",
                id("nvmlDeviceGetGpuInstanceId"),
                id("nvmlDeviceGetComputeInstanceId")
            ));
        }
        match split {
            true => format!(", mig: [{}]", instances.join(", ")),
            false => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "nvml-record 1
# made by hand
seconds 10
from 1000
0 - nvmlDeviceGetCount_v2() 0 1
0 0 nvmlDeviceGetUUID() 0 \"GPU-1\"
0 0 nvmlDeviceGetPowerUsage() 0 100
4000 0 nvmlDeviceGetPowerUsage() 15
6000 0 nvmlDeviceGetPowerUsage() 0 300
0 0 nvmlDeviceGetClockInfo(1) 0 1665
2500 0 nvmlEventSetWait_v2() 0 79
";

    #[test]
    fn a_call_answers_as_it_last_did_and_the_record_begins_again() {
        let record = Record::parse(RECORD).unwrap();
        let power = |now_s| {
            let recorded = record.at("0", "nvmlDeviceGetPowerUsage", &[], now_s);
            recorded.map(|recorded| recorded.number(0).unwrap())
        };
        assert_eq!(power(1003.9), Ok(100));
        assert_eq!(power(1005.0), Err(Code(15)));
        assert_eq!(power(1009.9), Ok(300));
        assert_eq!(power(1010.5), Ok(100));
        assert_eq!(power(500.0), Ok(100));
        let clock = |kind| record.at("0", "nvmlDeviceGetClockInfo", &[kind], 1000.0);
        assert!(clock(1).is_ok());
        assert_eq!(clock(2), Err(NOT_SUPPORTED));
    }

    #[test]
    fn a_counter_grows_between_two_answers_and_a_reading_does_not() {
        let counting = "0 0 nvmlDeviceGetTotalEnergyConsumption() 0 1000\n\
                        1000 0 nvmlDeviceGetTotalEnergyConsumption() 0 3000\n\
                        0 0 nvmlDeviceGetFieldValues(82,0) 0 1 60\n\
                        1000 0 nvmlDeviceGetFieldValues(82,0) 0 1 70\n";
        let record = Record::parse(&format!("{RECORD}{counting}")).unwrap();
        let at = |name, arguments: &[u64]| {
            let recorded = record.at("0", name, arguments, 1000.25).unwrap();
            recorded.values.last().cloned()
        };
        let energy = at("nvmlDeviceGetTotalEnergyConsumption", &[]);
        assert_eq!(energy, Some(Token::Number(1500)));
        let heat = at("nvmlDeviceGetFieldValues", &[82, 0]);
        assert_eq!(heat, Some(Token::Number(60)));
    }

    #[test]
    fn a_record_has_its_gpus_and_their_xids() {
        let text = Record::parse(RECORD).unwrap().scenario();
        assert!(text.contains("uuid: 'GPU-1'"), "{text}");
        assert!(
            text.contains("xid: 79, at_s: 1002.5, every_s: 10"),
            "{text}"
        );
    }

    #[test]
    fn a_wrong_line_is_named() {
        let error = Record::parse("nvml-record 1\nseconds 1\n0 0 nvmlX 0\n").unwrap_err();
        assert!(error.contains("line 3"), "{error}");
    }
}
