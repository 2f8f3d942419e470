/*
 * status.c - `greenarrow status`: one screen of what the daemon is doing.
 *
 * The members of the answer are added by the core and by modules; a part whose
 * module is not loaded is left out of the screen.  --json prints the answer as
 * it came.
 */
#include "config.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "commands.h"

static const char *
when(int64_t ms, char *buf, size_t room)
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	localtime_r(&t, &tm);
	strftime(buf, room, "%Y-%m-%d %H:%M:%S %z", &tm);
	return buf;
}

static void
print_head(struct json_object *o)
{
	struct json_object *loops = cli_member(o, "loops"), *reload = cli_member(o, "reload");
	char a[64], b[64];

	printf("greenarrowd %s, pid %lld, up %s (since %s)\n", cli_string(o, "version"),
	    (long long)cli_int(o, "pid"), cli_duration(cli_int(o, "uptime_ms"), a, sizeof a),
	    when(cli_int(o, "started_ms"), b, sizeof b));
	printf("configuration   %s, generation %lld", cli_string(o, "config"),
	    (long long)cli_int(reload, "generation"));
	if (cli_int(reload, "time_ms") == 0)
		printf(", not reloaded since the start\n");
	else
		printf(", last reload %s: %s%s\n", when(cli_int(reload, "time_ms"), a, sizeof a),
		    json_object_get_boolean(cli_member(reload, "ok")) ? "done" : "refused: ",
		    cli_string(reload, "message"));
	printf("loops           %zu, sessions", loops != NULL ? json_object_array_length(loops) : 0);
	for (size_t i = 0; loops != NULL && i < json_object_array_length(loops); i++)
		printf(" %lld", (long long)cli_int(json_object_array_get_idx(loops, i), "sessions"));
	printf("\n");
}

static void
print_queue(struct json_object *q)
{
	if (q == NULL)
		return;
	printf("queue           %lld messages, %lld envelopes: ram %lld, bounce %lld, disk %lld, failed %lld\n",
	    (long long)cli_int(q, "messages"), (long long)cli_int(q, "envelopes"),
	    (long long)cli_int(q, "ram"), (long long)cli_int(q, "bounce"),
	    (long long)cli_int(q, "disk"), (long long)cli_int(q, "failed"));
	printf("                waiting %lld, in flight %lld, paused %lld; pauses in force %lld\n",
	    (long long)cli_int(q, "waiting"), (long long)cli_int(q, "in_flight"),
	    (long long)cli_int(q, "paused"), (long long)cli_int(q, "pauses"));
	printf("since start     accepted %lld, success %lld, deferral %lld, failure %lld, too long %lld, discarded %lld\n",
	    (long long)cli_int(q, "accepted_total"), (long long)cli_int(q, "success_total"),
	    (long long)cli_int(q, "deferral_total"), (long long)cli_int(q, "failure_total"),
	    (long long)cli_int(q, "toolong_total"), (long long)cli_int(q, "discarded_total"));
}

/* Rates are objects of numbers a second. */
static void
print_rates(struct json_object *rates)
{
	if (rates == NULL)
		return;
	printf("rates           ");
	json_object_object_foreach(rates, key, value)
		printf("%s %.1f/s  ", key, json_object_get_double(value));
	printf("\n");
}

/* All services in one line: each is in --json. */
static void
print_connections_in(struct json_object *services)
{
	int64_t sessions = 0, connections = 0, refused = 0;

	if (services == NULL)
		return;
	for (size_t i = 0; i < json_object_array_length(services); i++) {
		struct json_object *service = json_object_array_get_idx(services, i);

		sessions += cli_int(service, "sessions");
		connections += cli_int(service, "connections");
		refused += cli_int(service, "refused");
	}
	printf("connections in  %lld sessions, %lld since start, %lld refused\n",
	    (long long)sessions, (long long)connections, (long long)refused);
}

static void
print_services(struct json_object *services)
{
	size_t n = services != NULL ? json_object_array_length(services) : 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *service = json_object_array_get_idx(services, i);

		printf("%s%s %s%s", i == 0 ? "services        " : ", ", cli_string(service, "name"),
		    cli_string(service, "state"), i + 1 == n ? "\n" : "");
	}
}

static void
print_connections_out(struct json_object *out)
{
	if (out != NULL)
		printf("connections out %lld open: %lld connecting, %lld saved for reuse; %lld opened since start\n",
		    (long long)cli_int(out, "connections"), (long long)cli_int(out, "connecting"),
		    (long long)cli_int(out, "saved_for_reuse"), (long long)cli_int(out, "opened_total"));
}

static void
print_throttle(struct json_object *t)
{
	if (t != NULL)
		printf("throttle groups %lld, in which %lld envelopes wait; %lld in backoff\n",
		    (long long)cli_int(t, "groups"), (long long)cli_int(t, "waiting"),
		    (long long)cli_int(t, "in_backoff"));
}

static void
print_reports(struct json_object *r)
{
	if (r != NULL)
		printf("reports         failure %lld, delay %lld, relayed %lld told since start; %lld dropped for want of a sender\n",
		    (long long)cli_int(r, "failure_total"), (long long)cli_int(r, "delay_total"),
		    (long long)cli_int(r, "relayed_total"), (long long)cli_int(r, "dropped_total"));
}

static void
print_spool(struct json_object *s)
{
	double syncs;

	if (s == NULL)
		return;
	syncs = (double)cli_int(s, "syncs");
	printf("spool           %lld segments, %.1f MiB, %lld syncs, %.1f messages a sync%s\n",
	    (long long)cli_int(s, "segments"), (double)cli_int(s, "bytes") / 1048576,
	    (long long)cli_int(s, "syncs"), syncs > 0 ? (double)cli_int(s, "commits") / syncs : 0,
	    json_object_get_boolean(cli_member(s, "full")) ? ", FULL: new mail is refused" : "");
}

static void
print_dns(struct json_object *d)
{
	int64_t resolved = cli_int(d, "resolved_total");

	if (d != NULL)
		printf("dns             %lld questions, %lld resolved in %.1f ms each\n", (long long)cli_int(d, "questions_total"),
		    (long long)resolved, resolved > 0 ? (double)cli_int(d, "resolve_ms_total") / (double)resolved : 0);
}

/* All directories in one line, and one for each that cannot be written. */
static void
print_logs(struct json_object *dirs)
{
	int64_t lines = 0, octets = 0, dropped = 0;

	if (dirs == NULL)
		return;
	for (size_t i = 0; i < json_object_array_length(dirs); i++) {
		struct json_object *d = json_object_array_get_idx(dirs, i);

		lines += cli_int(d, "lines_total");
		octets += cli_int(d, "bytes_total");
		dropped += cli_int(d, "dropped_total");
	}
	printf("logs            %zu directories, %lld lines, %.1f MiB since start, %lld lines dropped\n",
	    json_object_array_length(dirs), (long long)lines, (double)octets / 1048576, (long long)dropped);
	for (size_t i = 0; i < json_object_array_length(dirs); i++) {
		struct json_object *d = json_object_array_get_idx(dirs, i);

		if (cli_string(d, "trouble")[0] != '\0')
			printf("                %s IS NOT WRITTEN (%s), %lld octets wait\n", cli_string(d, "name"),
			    cli_string(d, "trouble"), (long long)cli_int(d, "waiting_bytes"));
	}
}

static void
print_list(const char *title, struct json_object *list, const char *what, const char *why)
{
	for (size_t i = 0; list != NULL && i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		printf("%-15s %s: %s\n", i == 0 ? title : "", cli_string(o, what), cli_string(o, why));
	}
}

static void
print_screen(struct json_object *o)
{
	print_head(o);
	print_queue(cli_member(o, "queue"));
	print_rates(cli_member(o, "rates"));
	print_services(cli_member(o, "smtp_services"));
	print_connections_in(cli_member(o, "smtp_services"));
	print_connections_out(cli_member(o, "smtp_client"));
	print_throttle(cli_member(o, "throttle"));
	print_reports(cli_member(o, "reports"));
	print_spool(cli_member(o, "spool"));
	print_dns(cli_member(o, "dns"));
	print_logs(cli_member(o, "log_directories"));
	print_list("paused", cli_member(o, "paused"), "what", "why");
	print_list("held by", cli_member(o, "holds"), "module", "for");
}

int
cli_status(int argc, char **argv)
{
	return cli_report(argc, argv, "status", "status [ARGUMENTS]",
	    "This tool shows what the daemon is doing: version, uptime, loops, queue,\n"
	    "connections, throttle groups, rates, what is paused, and the last reload.", print_screen);
}
