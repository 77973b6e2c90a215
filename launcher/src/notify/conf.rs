//! What Netdata's own script is told: nothing but to hand each alert to the launcher's sender.

/// The name of the script's configuration.
pub const ALARM_NOTIFY: &str = "health_alarm_notify.conf";
/// The launcher inside the container.
pub const SENDER_INSIDE: &str = "/etc/netdata/launcher";
/// The channels there.
pub const CONFIG_INSIDE: &str = "/etc/netdata/launcher-notify.json";
/// What was told already; in the only directory that lives as long as the node.
const MEMORY_INSIDE: &str = "/var/lib/netdata/launcher-notify.json";

/// The configuration: read by the script after the image's own. No secret is in it, nor in what it hands over.
pub fn text() -> String {
    format!(
        r#"# Written by launcher at each start. `launcher notify` says where alerts go; to use Netdata's own
# ways instead, put a {ALARM_NOTIFY} of your own into state/config.
SEND_EMAIL="NO"
SEND_CUSTOM="YES"
DEFAULT_RECIPIENT_CUSTOM="launcher"
for role in sysadmin domainadmin dba webmaster proxyadmin sitemgr; do
    role_recipients_custom[$role]="launcher"
done
custom_sender() {{
    local said
    if said=$(ALERT_HOST="${{host}}" ALERT_CHART="${{chart}}" ALERT_NAME="${{name}}" ALERT_STATUS="${{status}}" \
        ALERT_VALUE="${{value_string}}" ALERT_INFO="${{info}}" ALERT_WHEN="${{when}}" ALERT_RAISED_FOR="${{raised_for}}" \
        {SENDER_INSIDE} deliver --channels {CONFIG_INSIDE} --memory {MEMORY_INSIDE} 2>&1); then
        info "${{status}} of '${{host}}.${{chart}}.${{name}}': ${{said}}"
        return 0
    fi
    error "${{status}} of '${{host}}.${{chart}}.${{name}}': ${{said}}"
    return 1
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_understands_the_configuration() {
        let script = format!(
            "declare -A role_recipients_custom\n{}\necho ${{role_recipients_custom[dba]}}",
            text()
        );
        let output = std::process::Command::new("bash")
            .args(["-c", &script])
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "launcher\n",
            "{output:?}"
        );
    }
}
