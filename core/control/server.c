/*
 * server.c - the control socket: one JSON object a line, in and out.
 *
 * Runs on the main loop.  Anything wrong with what a client sends (not JSON, no
 * command, a line over LINE_MAX_) gets one error answer and closes that client
 * only; a client that does not read what it asked for stops being read, and is
 * closed when OUT_MAX octets wait for it.  Who may connect is decided by the
 * socket's mode and checked again by the peer's uid and gid.  Without descriptors
 * left clients wait, and accept() rests for REST_S, or the loop would spin.
 *
 * Request  {"v":1,"id":n,"cmd":"…","args":{…}}
 * Answers  {"id":n,"ok":true,…}, many for a stream, the last with "end":true;
 *          {"id":n,"ok":false,"error":{"code":"…","message":"…"}}
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/server.h"
#include "loop/loop.h"
#include "module/inst.h"
#include "module/log.h"

#define LINE_MAX_ (1u << 20)
#define OUT_MAX (64u << 20)
#define OUT_SLOW (1u << 20)
#define CLIENTS_MAX 1000
#define REST_S 0.1

struct command {
	struct command *next;
	const char *name, *help;
	ga_control_fn *fn;
	void *arg;
};

struct status_part {
	struct status_part *next;
	struct ga_inst *inst;
	ga_status_fn *fn;
};

struct client {
	struct client *next, **prev;
	int fd;
	struct ev_io in, out;
	char *line;
	size_t n, room;
	char *pending;
	size_t npending, pending_room, sent;
	unsigned calls;			/* not yet answered */
	bool closing;			/* close once pending is written */
	bool gone;			/* closed; freed with its last call */
};

struct ga_control_call {
	struct client *client;
	int64_t id;
	bool streamed;
};

static struct {
	int fd;
	char *path;
	struct ev_io accept;
	struct ev_timer rest;
	struct command *commands;
	struct status_part *parts, **parts_end;
	struct client *clients;
	unsigned nclients;
	gid_t group;
} server = { .fd = -1, .group = (gid_t)-1 };

/* --- registration --- */

void
ga_control_register(struct ga_inst *inst, const char *name, const char *help, ga_control_fn *fn,
    void *arg)
{
	struct command *c = ga_xcalloc(1, sizeof *c);

	(void)inst;
	c->name = name;
	c->help = help;
	c->fn = fn;
	c->arg = arg;
	c->next = server.commands;
	server.commands = c;
}

void
ga_status_register(struct ga_inst *inst, ga_status_fn *fn)
{
	struct status_part *p = ga_xcalloc(1, sizeof *p);

	p->inst = inst;
	p->fn = fn;
	if (server.parts_end == NULL)
		server.parts_end = &server.parts;
	*server.parts_end = p;
	server.parts_end = &p->next;
}

void
gac_status_fill(struct json_object *status)
{
	for (struct status_part *p = server.parts; p != NULL; p = p->next)
		p->fn(p->inst, status);
}

struct json_object *
ga_status_parts(void)
{
	struct json_object *all = json_object_new_object();

	gac_status_fill(all);
	return all;
}

/* --- clients --- */

static void
free_client(struct client *c)
{
	free(c->line);
	free(c->pending);
	free(c);
}

static void
drop_client(struct client *c)
{
	struct ev_loop *ev = gac_loop_ev(ga_worker_main());

	if (!c->gone) {
		c->gone = true;
		ev_io_stop(ev, &c->in);
		ev_io_stop(ev, &c->out);
		close(c->fd);
		*c->prev = c->next;
		if (c->next != NULL)
			c->next->prev = c->prev;
		server.nclients--;
	}
	if (c->calls == 0)
		free_client(c);
}

static void
flush_client(struct client *c)
{
	struct ev_loop *ev = gac_loop_ev(ga_worker_main());

	while (c->sent < c->npending) {
		ssize_t n = send(c->fd, c->pending + c->sent, c->npending - c->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			ev_io_start(ev, &c->out);
			return;
		}
		if (n < 0) {
			drop_client(c);
			return;
		}
		c->sent += (size_t)n;
	}
	c->sent = c->npending = 0;
	ev_io_stop(ev, &c->out);
	if (c->closing && c->calls == 0)
		drop_client(c);
}

static void
client_writable(struct ev_loop *ev, struct ev_io *io, int revents)
{
	(void)ev;
	(void)revents;
	flush_client(io->data);
}

static void
send_object(struct client *c, struct json_object *o)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
	    JSON_C_TO_STRING_NOSLASHESCAPE);
	size_t n = strlen(text);

	if (!c->gone && c->npending - c->sent + n + 1 > OUT_MAX) {
		drop_client(c);
		return;
	}
	if (!c->gone) {
		/* of a client that is always a little behind, only what it has not got */
		if (c->sent > 0 && c->npending + n + 1 > c->pending_room) {
			c->npending -= c->sent;
			memmove(c->pending, c->pending + c->sent, c->npending);
			c->sent = 0;
		}
		if (c->npending + n + 1 > c->pending_room) {
			c->pending_room = c->npending + n + 4096;
			c->pending = ga_xrealloc(c->pending, c->pending_room);
		}
		memcpy(c->pending + c->npending, text, n);
		c->pending[c->npending + n] = '\n';
		c->npending += n + 1;
	}
}

static struct json_object *
answer(int64_t id, bool ok)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "id", json_object_new_int64(id));
	json_object_object_add(o, "ok", json_object_new_boolean(ok));
	return o;
}

static void
send_error(struct client *c, int64_t id, const char *code, const char *message)
{
	struct json_object *o = answer(id, false), *e = json_object_new_object();

	json_object_object_add(e, "code", json_object_new_string(code));
	json_object_object_add(e, "message", json_object_new_string(message));
	json_object_object_add(o, "error", e);
	send_object(c, o);
	json_object_put(o);
}

/* --- answers --- */

static void
end_call(struct ga_control_call *call)
{
	struct client *c = call->client;

	free(call);
	c->calls--;
	if (c->gone) {
		if (c->calls == 0)
			free_client(c);
		return;
	}
	flush_client(c);
}

static void
send_members(struct ga_control_call *call, struct json_object *members, bool end)
{
	struct json_object *o = answer(call->id, true);

	if (members != NULL) {
		json_object_object_foreach(members, key, value)
			json_object_object_add(o, key, json_object_get(value));
		json_object_put(members);
	}
	if (end)
		json_object_object_add(o, "end", json_object_new_boolean(true));
	send_object(call->client, o);
	json_object_put(o);
}

void
ga_control_reply(struct ga_control_call *call, struct json_object *result)
{
	send_members(call, result, call->streamed);
	end_call(call);
}

bool
ga_control_part(struct ga_control_call *call, struct json_object *part)
{
	struct client *c = call->client;

	call->streamed = true;
	send_members(call, part, false);
	if (!c->gone) {
		c->calls++;		/* keeps c while it is flushed */
		flush_client(c);
		c->calls--;
	}
	return !c->gone && c->npending - c->sent < OUT_SLOW;
}

void
ga_control_error(struct ga_control_call *call, const char *code, const char *fmt, ...)
{
	char *message = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&message, fmt, ap) < 0)
		message = NULL;
	va_end(ap);
	send_error(call->client, call->id, code, message != NULL ? message : "");
	free(message);
	end_call(call);
}

bool
ga_control_gone(const struct ga_control_call *call)
{
	return call->client->gone;
}

/* --- requests --- */

static const struct command *
find_command(const char *name)
{
	for (const struct command *c = server.commands; c != NULL; c = c->next)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static void
start_call(struct client *c, int64_t id, const struct command *command, struct json_object *args)
{
	struct ga_control_call *call = ga_xcalloc(1, sizeof *call);
	struct json_object *none = NULL;

	call->client = c;
	call->id = id;
	c->calls++;
	if (args == NULL || !json_object_is_type(args, json_type_object))
		args = none = json_object_new_object();
	command->fn(call, args, command->arg);
	json_object_put(none);
}

static void
request(struct client *c, const char *line, size_t n)
{
	struct json_tokener *tok = json_tokener_new_ex(16);
	struct json_object *o = json_tokener_parse_ex(tok, line, (int)n), *m;
	const struct command *command;
	const char *name;
	int64_t id = 0;

	if (o == NULL || !json_object_is_type(o, json_type_object)) {
		send_error(c, 0, "syntax", "not a JSON object");
		c->closing = true;
		goto out;
	}
	if (json_object_object_get_ex(o, "id", &m))
		id = json_object_get_int64(m);
	if (!json_object_object_get_ex(o, "v", &m) || json_object_get_int(m) != 1) {
		send_error(c, id, "version", "expected \"v\":1");
		goto out;
	}
	if (!json_object_object_get_ex(o, "cmd", &m) || !json_object_is_type(m, json_type_string)) {
		send_error(c, id, "syntax", "no \"cmd\"");
		goto out;
	}
	name = json_object_get_string(m);
	command = find_command(name);
	if (command == NULL) {
		char text[256];

		snprintf(text, sizeof text, "unknown command \"%.100s\" (is its module loaded?)", name);
		send_error(c, id, "unknown_command", text);
		goto out;
	}
	if (!json_object_object_get_ex(o, "args", &m))
		m = NULL;
	start_call(c, id, command, m);
out:
	json_object_put(o);
	json_tokener_free(tok);
}

static void
take_lines(struct client *c)
{
	char *lf;
	size_t at = 0;

	while (!c->gone && !c->closing && (lf = memchr(c->line + at, '\n', c->n - at)) != NULL) {
		size_t n = (size_t)(lf - c->line) - at;

		if (n > 0)
			request(c, c->line + at, n);
		at += n + 1;
	}
	if (at > 0 && !c->gone) {
		memmove(c->line, c->line + at, c->n - at);
		c->n -= at;
	}
	if (!c->gone && c->n >= LINE_MAX_) {
		send_error(c, 0, "too_long", "line over 1 MiB");
		c->closing = true;
	}
}

static void
client_readable(struct ev_loop *ev, struct ev_io *io, int revents)
{
	struct client *c = io->data;
	ssize_t n;

	(void)revents;
	if (c->room - c->n < 4096) {
		c->room = c->room > 0 ? c->room * 2 : 8192;
		c->line = ga_xrealloc(c->line, c->room);
	}
	n = recv(c->fd, c->line + c->n, c->room - c->n, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop_client(c);
		return;
	}
	c->n += (size_t)n;
	c->calls++;
	take_lines(c);
	c->calls--;
	if (c->gone) {
		if (c->calls == 0)
			free_client(c);
		return;
	}
	if (c->closing)
		ev_io_stop(ev, &c->in);
	flush_client(c);
}

/* The mode of the socket decides; this holds also where modes of sockets do not count. */
static bool
allowed(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof cred;
	gid_t groups[128];
	socklen_t glen = sizeof groups;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return false;
	if (cred.uid == 0 || cred.uid == geteuid() || cred.gid == server.group)
		return true;
	if (server.group != (gid_t)-1 &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &glen) == 0)
		for (size_t i = 0; i < glen / sizeof groups[0]; i++)
			if (groups[i] == server.group)
				return true;
	return false;
}

static void
rested(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	(void)timer;
	(void)revents;
	ev_io_start(ev, &server.accept);
}

static void
take_rest(struct ev_loop *ev)
{
	ev_io_stop(ev, &server.accept);
	ev_timer_set(&server.rest, REST_S, 0.);
	ev_timer_start(ev, &server.rest);
}

static void
new_client(struct ev_loop *ev, struct ev_io *io, int revents)
{
	int fd = accept4(server.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct client *c;

	(void)io;
	(void)revents;
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			take_rest(ev);
		return;
	}
	if (server.nclients >= CLIENTS_MAX || !allowed(fd)) {
		close(fd);
		return;
	}
	c = ga_xcalloc(1, sizeof *c);
	c->fd = fd;
	ev_io_init(&c->in, client_readable, fd, EV_READ);
	c->in.data = c;
	ev_io_init(&c->out, client_writable, fd, EV_WRITE);
	c->out.data = c;
	c->next = server.clients;
	c->prev = &server.clients;
	if (c->next != NULL)
		c->next->prev = &c->next;
	server.clients = c;
	server.nclients++;
	ev_io_start(ev, &c->in);
}

/* --- start and stop --- */

/* True when a daemon answers on the socket that is there. */
static bool
somebody_answers(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes;

	if (fd < 0)
		return false;
	yes = connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0;
	close(fd);
	return yes;
}

bool
gac_control_start(const char *path, gid_t group, char *err, size_t room)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	mode_t old;
	int bound;

	if (strlen(path) >= sizeof addr.sun_path) {
		snprintf(err, room, "%s: the path of a socket has at most %zu octets", path,
		    sizeof addr.sun_path - 1);
		return false;
	}
	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
	if (somebody_answers(&addr)) {
		snprintf(err, room, "%s: another greenarrowd is running", path);
		return false;
	}
	server.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	unlink(path);
	old = umask(0117);
	bound = server.fd < 0 ? -1 : bind(server.fd, (struct sockaddr *)&addr, sizeof addr);
	umask(old);
	if (bound != 0 || listen(server.fd, 64) != 0) {
		snprintf(err, room, "%s: %s", path, strerror(errno));
		if (server.fd >= 0)
			close(server.fd);
		server.fd = -1;
		return false;
	}
	if (group != (gid_t)-1 && chown(path, (uid_t)-1, group) != 0 && geteuid() == 0)
		gac_log(GA_WARN, "core", "GA-CTL-0001", "%s: group: %s", path, strerror(errno));
	server.group = group;
	server.path = strdup(path);
	ev_timer_init(&server.rest, rested, 0., 0.);
	ev_io_init(&server.accept, new_client, server.fd, EV_READ);
	ev_io_start(gac_loop_ev(ga_worker_main()), &server.accept);
	return true;
}

void
gac_control_stop(void)
{
	struct command *c;
	struct status_part *p;

	if (server.fd >= 0) {
		ev_io_stop(gac_loop_ev(ga_worker_main()), &server.accept);
		ev_timer_stop(gac_loop_ev(ga_worker_main()), &server.rest);
		close(server.fd);
		unlink(server.path);
		server.fd = -1;
	}
	while (server.clients != NULL) {
		struct client *k = server.clients;

		flush_client(k);
		if (server.clients == k)
			drop_client(k);
	}
	while ((c = server.commands) != NULL) {
		server.commands = c->next;
		free(c);
	}
	while ((p = server.parts) != NULL) {
		server.parts = p->next;
		free(p);
	}
	server.parts_end = NULL;
	free(server.path);
	server.path = NULL;
}
