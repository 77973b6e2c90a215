//! How a call answers from a record: its arguments say which answer is meant and take what was answered then, in
//! their order, whatever the call.

use std::borrow::Cow;
use std::ffi::{c_char, c_int, c_uint};

use crate::ffi::{Answer, Code, INVALID_ARGUMENT, Out, Room, Text, VERSION_MISMATCH};
use crate::gpu::GpuNow;
use crate::record::{Recorded, Token};
use crate::session::Device;

/// Calls that read a record in a way of their own, or that are about handles.
const OTHERWISE: &[&str] = &[
    "nvmlDeviceGetIndex",
    "nvmlDeviceGetUUID",
    "nvmlDeviceIsMigDeviceHandle",
    "nvmlDeviceGetMigDeviceHandleByIndex",
    "nvmlDeviceGetGpuInstanceId",
    "nvmlDeviceGetComputeInstanceId",
    "nvmlDeviceGetDeviceHandleFromMigDeviceHandle",
    "nvmlDeviceOnSameBoard",
    "nvmlDeviceGetGspFirmwareVersion",
    "nvmlDeviceRegisterEvents",
    "nvmlDeviceGetFieldValues",
    "nvmlDeviceGetSamples",
    "nvmlDeviceGetProcessUtilization",
    "nvmlDeviceGetProcessesUtilizationInfo",
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetComputeRunningProcesses_v2",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses",
    "nvmlDeviceGetGraphicsRunningProcesses_v2",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetMPSComputeRunningProcesses",
    "nvmlDeviceGetMPSComputeRunningProcesses_v2",
    "nvmlDeviceGetMPSComputeRunningProcesses_v3",
    "nvmlDeviceGetRunningProcessDetailList",
    "nvmlGpmSampleGet",
    "nvmlGpmMigSampleGet",
];

impl GpuNow<'_> {
    /// What was answered then; `None` without a record, and for calls that read it in a way of their own.
    pub fn replayed(&self, name: &str, asked: &[u64]) -> Option<Result<Cow<'_, Recorded>, Code>> {
        let record = self.machine.record.as_ref()?;
        (!OTHERWISE.contains(&name)).then(|| record.at(&self.key(), name, asked, self.now_s))
    }

    /// Its name in a record.
    pub fn key(&self) -> String {
        let instances = self.gpu.mig.as_deref().unwrap_or_default();
        let part = self.instance.and_then(|part| {
            instances
                .iter()
                .position(|instance| instance.uuid == part.uuid)
        });
        match part {
            Some(part) => format!("{}.{part}", self.gpu.index),
            None => self.gpu.index.to_string(),
        }
    }
}

/// The values of an answer that no argument has taken yet.
pub struct Values<'a> {
    left: &'a [Token],
    /// A text waits for the argument that tells how long it may be.
    text: Option<(Out<c_char>, &'a str)>,
}

impl<'a> Values<'a> {
    /// All of them.
    pub fn of(recorded: &'a Recorded) -> Self {
        Self {
            left: &recorded.values,
            text: None,
        }
    }
}

/// An argument of a call.
pub trait Argument: Sized {
    /// Adds what goes in.
    fn ask(&self, _asked: &mut Vec<u64>) {}
    /// Takes what comes out.
    fn answer(self, _values: &mut Values<'_>) -> Answer {
        Ok(())
    }
}

impl Argument for c_uint {
    fn ask(&self, asked: &mut Vec<u64>) {
        asked.push((*self).into());
    }
}

impl Argument for c_int {}

impl Argument for u64 {
    fn ask(&self, asked: &mut Vec<u64>) {
        asked.push(*self);
    }
}

impl Argument for usize {}

impl Argument for Device {}

impl Argument for Text {}

impl Argument for Room {
    fn answer(self, values: &mut Values<'_>) -> Answer {
        match values.text.take() {
            Some((out, text)) => out.text(self.0, text),
            None => Err(INVALID_ARGUMENT),
        }
    }
}

impl<T> Argument for Out<T> {
    fn answer(self, values: &mut Values<'_>) -> Answer {
        let Some((value, left)) = values.left.split_first() else {
            return Err(INVALID_ARGUMENT);
        };
        values.left = left;
        match value {
            Token::Number(number) => self.put_bytes(&number.to_le_bytes()[..size_of::<T>().min(8)]),
            Token::Plain(bytes) => self.put_bytes(bytes),
            Token::Versioned(bytes) => {
                if self.first_word()? == bytes.get(..4).unwrap_or_default() {
                    self.put_bytes(bytes)
                } else {
                    Err(VERSION_MISMATCH)
                }
            }
            Token::Text(text) => {
                values.text = Some((self.into_text(), text));
                Ok(())
            }
            Token::Float(_) | Token::Row(_) => Err(INVALID_ARGUMENT),
        }
    }
}
