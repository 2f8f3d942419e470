/*
 * control.c - pauses on the control socket: `pause`, `resume`, `pauses`.
 *
 * Arguments: kind ("virtual_mta", "send", "sender", "dump"), name; to (sender: the recipient
 * domain); for_ms, percent, reason, who.  `resume` of a send ends a dump of it, too.
 *
 * Main loop.
 */
#include <stdlib.h>
#include <string.h>

#include <greenarrow/json.h>
#include <greenarrow/mail.h>
#include <greenarrow/service/control.h>

#include "queue.h"

#define NAME_MAX_ 255

struct wanted {
	struct ga_pause p;
	char name[256], domain[256];
};

static struct ga_str
string(struct json_object *args, const char *key)
{
	struct json_object *m;

	if (!json_object_object_get_ex(args, key, &m) || !json_object_is_type(m, json_type_string))
		return (struct ga_str){ "", 0 };
	return (struct ga_str){ json_object_get_string(m), (size_t)json_object_get_string_len(m) };
}

static bool
printable(struct ga_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return true;
}

static bool
read_kind(struct ga_str s, enum ga_pause_kind *kind)
{
	for (int k = GA_PAUSE_SENDER; k <= GA_PAUSE_DUMP; k++)
		if (ga_str_eq(s, ga_str_c(q_pause_kind((enum ga_pause_kind)k)))) {
			*kind = (enum ga_pause_kind)k;
			return true;
		}
	return false;
}

/* NULL, or what is wrong. */
static const char *
read_domains(struct wanted *w, struct ga_str to)
{
	if (!ga_mail_domain(w->p.name, w->name, sizeof w->name, &w->p.name))
		return "the sender's domain is no domain";
	if (to.n == 0 || !ga_mail_domain(to, w->domain, sizeof w->domain, &w->p.domain))
		return "the recipient domain (to) is no domain";
	return NULL;
}

static const char *
read_wanted(struct json_object *args, struct wanted *w)
{
	struct json_object *m;
	int64_t ms = json_object_object_get_ex(args, "for_ms", &m) ? json_object_get_int64(m) : 0;

	memset(w, 0, sizeof *w);
	w->p.name = string(args, "name");
	w->p.percent = json_object_object_get_ex(args, "percent", &m) ? json_object_get_double(m) : 100;
	w->p.reason = string(args, "reason");
	w->p.who = string(args, "who");
	if (!read_kind(string(args, "kind"), &w->p.kind))
		return "the kind is none of virtual_mta, send, sender, dump";
	if (w->p.name.n == 0 || w->p.name.n > NAME_MAX_ || !printable(w->p.name))
		return "the name is missing, longer than 255 octets, or has control characters";
	if (w->p.reason.n > 1000 || w->p.who.n > NAME_MAX_ || !printable(w->p.reason) || !printable(w->p.who))
		return "reason or who is too long, or has control characters";
	if (ms < 0 || ms > INT64_C(3153600000000) || !(w->p.percent > 0 && w->p.percent <= 100))
		return "for_ms is negative or over 100 years, or percent not in 0..100";
	if (ms > 0)
		w->p.until_ms = ga_wall_ms() + (uint64_t)ms;
	return w->p.kind == GA_PAUSE_SENDER ? read_domains(w, string(args, "to")) : NULL;
}

/* A number is taken for an mta_id: only a route tells that. */
static bool
is_known(struct ga_str name)
{
	static const char *const contexts[] = { "ip_address", "relay_server", "routing_rule" };
	struct ga_snapshot *snap = ga_snapshot_current();
	size_t digits = 0;
	bool known;

	while (digits < name.n && name.p[digits] >= '0' && name.p[digits] <= '9')
		digits++;
	known = digits == name.n;
	for (unsigned i = 0; i < 3 && !known; i++)
		known = ga_object_find(snap, contexts[i], name) != NULL;
	ga_snapshot_unref(snap);
	return known;
}

static void
pause_it(struct ga_control_call *call, struct json_object *args, void *arg)
{
	struct json_object *o;
	const char *wrong;
	struct wanted w;

	(void)arg;
	wrong = read_wanted(args, &w);
	if (wrong != NULL) {
		ga_control_error(call, "bad_argument", "%s", wrong);
		return;
	}
	q_pause(ga_worker_main(), &w.p);
	o = json_object_new_object();
	json_object_object_add(o, "known", json_object_new_boolean(w.p.kind != GA_PAUSE_VIRTUAL_MTA ||
	    is_known(w.p.name)));
	ga_control_reply(call, o);
}

/* Of a send its dump, too; of a sender by both of its domains, and by the rule where `to` is one. */
static bool
resume_all(struct ga_pause *p, struct ga_str to)
{
	bool was = q_resume(ga_worker_main(), p);

	if (p->kind == GA_PAUSE_SEND) {
		p->kind = GA_PAUSE_DUMP;
		was = q_resume(ga_worker_main(), p) || was;
	} else if (p->kind == GA_PAUSE_SENDER) {
		for (unsigned i = 1; i < 4; i++) {
			p->from_header = i % 2 == 1;
			if (i == 2) {
				p->scope = to;
				p->domain = (struct ga_str){ "", 0 };
			}
			was = q_resume(ga_worker_main(), p) || was;
		}
	}
	return was;
}

static void
resume(struct ga_control_call *call, struct json_object *args, void *arg)
{
	const char *wrong;
	struct wanted w;
	bool was;

	(void)arg;
	wrong = read_wanted(args, &w);
	if (wrong != NULL) {
		ga_control_error(call, "bad_argument", "%s", wrong);
		return;
	}
	was = resume_all(&w.p, string(args, "to"));
	if (was)
		ga_control_reply(call, json_object_new_object());
	else if (!q_pauses_told())
		ga_control_error(call, "starting", "the spool is being read: try again");
	else
		ga_control_error(call, "not_found", "%.*s is not paused", (int)w.p.name.n, w.p.name.p);
}

static void
add_date(struct json_object *o, const char *key, uint64_t ms)
{
	char date[GA_DATE_ROOM];

	json_object_object_add(o, key, json_object_new_string(ms != 0 ? ga_date_rfc3339(ms, date) : ""));
}

static void
add_pause(const struct ga_pause *p, uint64_t since_ms, void *list)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "kind", json_object_new_string(q_pause_kind(p->kind)));
	ga_json_put_str(o, "what", p->name);
	if (p->kind == GA_PAUSE_SENDER) {
		ga_json_put_str(o, "to", p->domain);
		ga_json_put_str(o, "throttle_rule", p->scope);
		ga_json_put_bool(o, "from_header", p->from_header);
		json_object_object_add(o, "percent", json_object_new_double(p->percent));
	}
	add_date(o, "since", since_ms);
	add_date(o, "until", p->until_ms);
	ga_json_put_str(o, "reason", p->reason);
	ga_json_put_str(o, "who", p->who.n > 0 ? p->who : GA_STR("a module"));
	json_object_array_add(list, o);
}

static void
list_pauses(struct ga_control_call *call, struct json_object *args, void *arg)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	(void)args;
	(void)arg;
	q_pauses_each(add_pause, list);
	json_object_object_add(o, "pauses", list);
	ga_control_reply(call, o);
}

void
q_control_init(struct ga_inst *inst)
{
	ga_control_register(inst, "pause", "hold mail back, or throw a send away", pause_it, NULL);
	ga_control_register(inst, "resume", "end a pause", resume, NULL);
	ga_control_register(inst, "pauses", "what is paused", list_pauses, NULL);
}
