/*
 * connections_print.c - the layouts of `greenarrow remote_connections`: a table,
 * and a block of lines a connection.
 *
 * Pure: an answer of the daemon in, text out.
 */
#include "config.h"

#include <stdbool.h>
#include <string.h>

#include "commands.h"
#include "connections_print.h"
#include "table.h"

static struct json_object *
list_of(struct json_object *answer, size_t *n)
{
	struct json_object *list = cli_member(answer, "remote_connections");

	*n = list != NULL ? json_object_array_length(list) : 0;
	return list;
}

static bool
is_saved(struct json_object *c)
{
	return strcmp(cli_string(c, "state"), "saved_for_reuse") == 0;
}

/* --- values as text --- */

/* "sending message (waiting)" is "sending data (waiting)" in the table. */
static void
text_command(struct json_object *c, const char *key, const struct timespec *now, char *to)
{
	static const char message[] = "sending message ";
	const char *command = cli_string(c, key);

	(void)now;
	if (strncmp(command, message, sizeof message - 1) == 0)
		snprintf(to, TABLE_TEXT, "sending data %s", command + sizeof message - 1);
	else
		snprintf(to, TABLE_TEXT, "%s", *command != '\0' ? command : "-");
}

static void
text_command_time(struct json_object *c, const char *key, const struct timespec *now, char *to)
{
	(void)now;
	*to = '\0';
	if (*cli_string(c, "current_smtp_command") != '\0')
		snprintf(to, TABLE_TEXT, "%.3fs", (double)cli_int(c, key) / 1000);
}

/* key: "local" or "remote" */
static void
text_address(struct json_object *c, const char *key, const struct timespec *now, char *to)
{
	char ip_key[16], port_key[16];
	const char *ip;

	(void)now;
	snprintf(ip_key, sizeof ip_key, "%s_ip", key);
	snprintf(port_key, sizeof port_key, "%s_port", key);
	ip = cli_string(c, ip_key);
	if (*ip == '\0')
		snprintf(to, TABLE_TEXT, "-");	/* not known before it is connected */
	else
		snprintf(to, TABLE_TEXT, strchr(ip, ':') != NULL ? "[%s]:%lld" : "%s:%lld", ip,
		    (long long)cli_int(c, port_key));
}

/* "2s", "1m30s", "2h0m5s" */
static void
text_seconds(int64_t s, char *to)
{
	if (s < 60)
		snprintf(to, TABLE_TEXT, "%llds", (long long)s);
	else if (s < 3600)
		snprintf(to, TABLE_TEXT, "%lldm%llds", (long long)s / 60, (long long)s % 60);
	else
		snprintf(to, TABLE_TEXT, "%lldh%lldm%llds", (long long)s / 3600,
		    (long long)s / 60 % 60, (long long)s % 60);
}

/* RFC 3339, as the daemon writes it. */
static bool
parse_time(const char *text, struct timespec *t)
{
	struct tm tm = { 0 };
	char sign = '+';
	int hours = 0, minutes = 0;
	long offset;

	if (sscanf(text, "%d-%d-%dT%d:%d:%d.%9ld%c%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
	    &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &t->tv_nsec, &sign, &hours, &minutes) != 10)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	offset = hours * 3600L + minutes * 60L;
	t->tv_sec = timegm(&tm) - (sign == '-' ? -offset : offset);
	return true;
}

static void
text_age(struct json_object *c, const char *key, const struct timespec *now, char *to)
{
	struct timespec start;
	int64_t s;

	*to = '\0';
	if (!parse_time(cli_string(c, key), &start))
		return;
	s = now->tv_sec - start.tv_sec - (now->tv_nsec < start.tv_nsec);
	text_seconds(s > 0 ? s : 0, to);
}

static void
text_timeout(struct json_object *c, const char *key, const struct timespec *now, char *to)
{
	(void)now;
	if (is_saved(c))
		text_seconds(cli_int(c, key), to);
	else
		snprintf(to, TABLE_TEXT, "active");
}

/* --- the table --- */

static const struct table_cell cells[] = {
	{ "", "", "id", 6, false, table_text_number, "id" },
	{ "  ", "", "state", 20, false, table_text_string, "state" },
	{ "  ", "current smtp", "command", 26, false, text_command, "current_smtp_command" },
	{ " / ", "", "time", 6, false, text_command_time, "current_smtp_command_duration_ms" },
	{ "  ", "", "tls", 3, false, table_text_yes_no, "tls_active" },
	{ "  ", "", "local ip:port", 19, false, text_address, "local" },
	{ " -> ", "", "remote ip:port", 0, false, text_address, "remote" },
	{ "  ", "connected", "time", 9, false, text_age, "start_time" },
	{ "  ", "messages", "sent", 6, false, table_text_number, "deliveries_done" },
	{ " / ", "", "max", 3, false, table_text_number, "deliveries_max" },
	{ "  ", "", "timeout", 7, false, text_timeout, "conn_expires_remaining" },
	{ "  ", "", "mtaid", 6, false, table_text_string, "outmtaid" },
	{ "  ", "throttle group", "key", 4, false, table_text_string, "throttle_group_key" },
	{ " / ", "", "maxconn", 7, false, table_text_number, "throttle_group_maxconn" },
	{ "  ", "", "mx hostname", 0, true, table_text_string, "mx_hostname" },
	{ "  ", "", "initial domain", 0, true, table_text_string, "initial_domain" },
	{ "  ", "", "most recent domain", 0, true, table_text_string, "most_recent_domain" },
};
static void
print_totals(FILE *out, struct json_object *answer)
{
	long long busy = (long long)cli_int(answer, "connections_delivery_in_progress");
	long long saved = (long long)cli_int(answer, "connections_saved_for_reuse");

	fprintf(out, "open connections: %lld\n- delivery in progress: %lld\n"
	    "- waiting for possible reuse: %lld\n", busy + saved, busy, saved);
}

void
connections_print_brief(FILE *out, struct json_object *answer, struct timespec now)
{
	table_print(out, cells, sizeof cells / sizeof cells[0], cli_member(answer, "remote_connections"), &now);
	fputc('\n', out);
	print_totals(out, answer);
}

/* --- the blocks --- */

static void
text_start(struct json_object *c, const char *key, const struct timespec *now, char *to)
{
	char day[32], zone[24];
	struct timespec t;
	struct tm tm;

	(void)now;
	*to = '\0';
	if (!parse_time(cli_string(c, key), &t))
		return;
	localtime_r(&t.tv_sec, &tm);
	strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S", &tm);
	strftime(zone, sizeof zone, "%z %Z", &tm);
	snprintf(to, TABLE_TEXT, "%s.%09ld %s", day, t.tv_nsec, zone);
}

static void
text_command_and_time(struct json_object *c, const char *key, const struct timespec *now, char *to)
{
	const char *command = cli_string(c, key);

	(void)now;
	if (*command == '\0')
		snprintf(to, TABLE_TEXT, "-");
	else
		snprintf(to, TABLE_TEXT, "%s (%.3fs)", command,
		    (double)cli_int(c, "current_smtp_command_duration_ms") / 1000);
}

static void
text_deliveries(struct json_object *c, const char *key, const struct timespec *now, char *to)
{
	int n = snprintf(to, TABLE_TEXT, "%lld / %lld ", (long long)cli_int(c, key),
	    (long long)cli_int(c, "deliveries_max"));

	(void)now;
	if (is_saved(c))
		snprintf(to + n, TABLE_TEXT - (size_t)n, "(%lld secs until close)",
		    (long long)cli_int(c, "conn_expires_remaining"));
	else
		snprintf(to + n, TABLE_TEXT - (size_t)n, "(active)");
}

static const struct {
	const char *title;
	table_text_fn *text;
	const char *key;
} lines[] = {
	{ "Connection State:", table_text_string, "state" },
	{ "Connection Time:", text_start, "start_time" },
	{ "Current SMTP Command:", text_command_and_time, "current_smtp_command" },
	{ "TLS Active:", table_text_yes_no, "tls_active" },
	{ "Local IP:", table_text_string, "local_ip" },
	{ "Remote IP:", table_text_string, "remote_ip" },
	{ "Deliveries Completed:", text_deliveries, "deliveries_done" },
	{ "VirtualMTA ID:", table_text_string, "outmtaid" },
	{ "Throttle Group Key:", table_text_string, "throttle_group_key" },
	{ "Throttle Group Maxconn:", table_text_number, "throttle_group_maxconn" },
	{ "MX Hostname:", table_text_string, "mx_hostname" },
	{ "Initial Domain:", table_text_string, "initial_domain" },
	{ "Most Recent Domain:", table_text_string, "most_recent_domain" },
};

void
connections_print_verbose(FILE *out, struct json_object *answer)
{
	size_t n;
	struct json_object *list = list_of(answer, &n);
	char text[TABLE_TEXT];

	for (size_t k = 0; k < n; k++) {
		struct json_object *c = json_object_array_get_idx(list, k);

		fprintf(out, "CONNECTION #%lld\n", (long long)cli_int(c, "id"));
		for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
			lines[i].text(c, lines[i].key, NULL, text);
			fprintf(out, "%-23s %s\n", lines[i].title, text);
		}
		fputc('\n', out);
	}
	print_totals(out, answer);
}
