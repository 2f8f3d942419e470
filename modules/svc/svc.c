/*
 * svc.c - each smtp_service as daemontools knows services: the module and its life.
 *
 * Main loop, but for what blocks: directories are made and statuses written on helper
 * threads, one such piece of work at a time for a service.  A FIFO is read OCTETS_A_TURN at a
 * time and folded into a wish (wish.h), so a flood of octets costs neither memory nor
 * time; to begin anew takes START_EVERY_MS at least, as with supervise.  What an action does is
 * the business of the service "smtp_services", which is all that is known here of SMTP.
 *
 * Owns a struct svc_service for each name ever seen; its directory is open while the
 * configuration has the service.
 *
 * Limit: an smtp_service that did not come up is not tried again until it is asked for.
 */
#define GA_LEVEL GA_ABI_STRICT
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include <greenarrow/ga_module.h>
#include <greenarrow/run.h>
#include <greenarrow/service/smtp_services.h>

#include "directory.h"
#include "wish.h"

#define OCTETS_A_TURN 4096
#define START_EVERY_MS 1000u
#define COMPLAIN_EVERY_MS 10000u	/* of octets that mean nothing */

struct svc_service {
	LIST_ENTRY(svc_service) link;
	const char *name;		/* of the smtp_service; its provider's */
	char *path;
	bool listed;			/* the configuration has it */
	struct svc_directory directory;
	struct ga_io *io;		/* NULL: the directory is not open */
	/* what it is */
	enum ga_smtp_service_state state;
	struct timespec since;
	/* what it is to be */
	struct svc_wish wish;
	bool gave_up;			/* the last action failed: rest until the next octet */
	struct ga_smtp_service_change change;
	bool changing;
	struct ga_timer *soon;
	uint64_t begun_ms;		/* 0: never */
	uint64_t complained_ms;
	unsigned meaningless;		/* octets, not told yet */
	/* what blocks, and its results */
	struct ga_work work;
	bool working;
	bool opened;
	char why[512];			/* "": it went well */
	unsigned char record[SVC_RECORD], written[SVC_RECORD];
};

static struct {
	struct ga_inst *inst;
	const struct ga_smtp_services *services;
	LIST_HEAD(, svc_service) all;
	struct ga_post post;
} svc;

static void step(struct svc_service *);

/* --- what blocks --- */

static void
write_status(struct ga_work *work)
{
	struct svc_service *s = GA_CONTAINER(work, struct svc_service, work);
	int e = svc_directory_status(s->path, s->written);

	s->why[0] = '\0';
	if (e != 0)
		snprintf(s->why, sizeof s->why, "%s/supervise/status: %s", s->path, strerror(e));
}

static void
open_directory(struct ga_work *work)
{
	struct svc_service *s = GA_CONTAINER(work, struct svc_service, work);

	s->why[0] = '\0';
	s->opened = svc_directory_open(&s->directory, s->path, s->why, sizeof s->why);
}

static void
begin_work(struct svc_service *s, void (*run)(struct ga_work *), void (*done)(struct ga_worker *, struct ga_work *))
{
	s->working = true;
	s->work.run = run;
	s->work.done = done;
	ga_work(ga_worker_main(), &s->work);
}

static void status_written(struct ga_worker *, struct ga_work *);
static void close_service(struct svc_service *);

/* Writes the status when it is another one than on the disk. */
static void
tell_status(struct svc_service *s)
{
	svc_record(s->record, s->since, s->state == GA_SMTP_SERVICE_UP ? getpid() : 0, svc_wish_want(&s->wish));
	if (s->io == NULL || s->working || memcmp(s->record, s->written, SVC_RECORD) == 0)
		return;
	memcpy(s->written, s->record, SVC_RECORD);
	begin_work(s, write_status, status_written);
}

static void
status_written(struct ga_worker *w, struct ga_work *work)
{
	struct svc_service *s = GA_CONTAINER(work, struct svc_service, work);

	s->working = false;
	if (s->why[0] != '\0')
		ga_log(svc.inst, GA_WARN, "GA-SUP-0001", "%s: svstat tells an old state", s->why);
	if (s->listed)
		tell_status(s);
	else
		close_service(s);
}

/* --- actions --- */

static const struct {
	enum ga_smtp_service_action action;
	const char *done, *failed;
} actions[] = {
	[SVC_RESTART] = { GA_SMTP_SERVICE_RESTART, "restarted", "not restarted, and goes on as it was" },
	[SVC_UP] = { GA_SMTP_SERVICE_TO_UP, "brought up", "not brought up" },
	[SVC_DOWN] = { GA_SMTP_SERVICE_TO_DOWN, "put down", "not put down" },
};

static void
changed_to(struct svc_service *s, enum ga_smtp_service_state state)
{
	s->state = state;
	clock_gettime(CLOCK_REALTIME, &s->since);
}

static enum svc_step
step_of(const struct ga_smtp_service_change *c)
{
	return c->action == GA_SMTP_SERVICE_RESTART ? SVC_RESTART :
	    c->action == GA_SMTP_SERVICE_TO_UP ? SVC_UP : SVC_DOWN;
}

static void
action_done(struct ga_smtp_service_change *c, const char *why)
{
	struct svc_service *s = c->arg;
	enum svc_step was = step_of(c);

	s->changing = false;
	s->gave_up = why != NULL;
	if (why == NULL) {
		changed_to(s, svc.services->state(s->name));
		ga_log(svc.inst, GA_NOTICE, "GA-SUP-0002", "smtp_service %s: %s", s->name, actions[was].done);
	} else {
		ga_log(svc.inst, GA_WARN, "GA-SUP-0003", "smtp_service %s: %s: %s", s->name, actions[was].failed, why);
	}
	tell_status(s);
	step(s);
}

static void
begin_action(struct svc_service *s, enum svc_step what)
{
	s->changing = true;
	s->wish.anew = false;
	s->change = (struct ga_smtp_service_change){ .name = s->name, .action = actions[what].action,
		.done = action_done, .arg = s };
	svc.services->change(&s->change);
}

static void
soon(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	step(arg);
}

/* False: a start, or a reload, was begun just now; step() comes again when it may. */
static bool
may_begin(struct svc_service *s)
{
	uint64_t now = ga_now_ms(ga_worker_main());

	if (s->begun_ms != 0 && now < s->begun_ms + START_EVERY_MS) {
		if (!ga_timer_armed(s->soon))
			ga_timer_arm(s->soon, s->begun_ms + START_EVERY_MS - now, 0);
		return false;
	}
	s->begun_ms = now;
	return true;
}

/* The daemon's own reload, by the way that supervise would take. */
static void
reload(struct svc_service *s)
{
	s->wish.reload = false;
	ga_log(svc.inst, GA_NOTICE, "GA-SUP-0004", "smtp_service %s: hangup: the daemon reloads", s->name);
	kill(getpid(), SIGHUP);
}

static void
step(struct svc_service *s)
{
	enum svc_step what = svc_wish_step(&s->wish, s->state != GA_SMTP_SERVICE_DOWN);

	if (s->changing || !s->listed)
		return;
	if (s->wish.reload && may_begin(s))
		reload(s);
	if (what == SVC_REST || s->gave_up)
		return;
	if (what == SVC_DOWN || may_begin(s))
		begin_action(s, what);
}

/* --- the FIFO --- */

static void
complain(struct svc_service *s, char last)
{
	uint64_t now = ga_now_ms(ga_worker_main());

	if (s->complained_ms != 0 && now < s->complained_ms + COMPLAIN_EVERY_MS)
		return;
	s->complained_ms = now;
	ga_log(svc.inst, GA_WARN, "GA-SUP-0005",
	    "smtp_service %s: ignored %u octets in supervise/control that mean nothing to a listener, the last one is 0x%02x",
	    s->name, s->meaningless, (unsigned char)last);
	s->meaningless = 0;
}

static void
octets_came(struct ga_inst *inst, struct ga_worker *w, int fd, unsigned events, void *arg)
{
	struct svc_service *s = arg;
	char octets[OCTETS_A_TURN], last = '\0';
	ssize_t n = read(fd, octets, sizeof octets);
	unsigned before = s->meaningless;

	for (ssize_t i = 0; i < n; i++)
		if (!svc_wish_take(&s->wish, octets[i])) {
			s->meaningless++;
			last = octets[i];
		}
	if (s->meaningless > before)
		complain(s, last);
	if (n > 0) {
		s->gave_up = false;
		step(s);
		tell_status(s);
	}
}

/* --- which services there are --- */

static char *
path_of(const char *name)
{
	char directory[GA_SMTP_SERVICE_DIRECTORY], *path;

	ga_smtp_service_directory(ga_str_c(name), directory);
	if (asprintf(&path, "%s/hvmail-%s", ga_path(GA_PATH_SERVICE), directory) < 0)
		abort();
	return path;
}

static struct svc_service *
service_of(const char *name)
{
	struct svc_service *s;

	LIST_FOREACH(s, &svc.all, link)
		if (s->name == name)
			return s;
	s = ga_xcalloc(1, sizeof *s);
	s->name = name;
	s->path = path_of(name);
	s->directory = SVC_DIRECTORY_CLOSED;
	s->soon = ga_timer_new(svc.inst, ga_worker_main(), soon, s);
	LIST_INSERT_HEAD(&svc.all, s, link);
	return s;
}

static void
close_service(struct svc_service *s)
{
	ga_io_free(s->io);
	s->io = NULL;
	s->opened = false;
	svc_directory_close(&s->directory);
	memset(s->written, 0, sizeof s->written);
}

static void
directory_opened(struct ga_worker *w, struct ga_work *work)
{
	struct svc_service *s = GA_CONTAINER(work, struct svc_service, work);

	s->working = false;
	if (!s->opened) {
		ga_log(svc.inst, GA_WARN, "GA-SUP-0006", "%s: smtp_service %s cannot be controlled there", s->why,
		    s->name);
		return;
	}
	if (!s->listed) {
		close_service(s);
		return;
	}
	s->io = ga_io_new(svc.inst, w, s->directory.control, octets_came, s);
	ga_io_want(s->io, GA_READ);
	tell_status(s);
}

static void
list(const char *name, void *arg)
{
	struct svc_service *s = service_of(name);
	enum ga_smtp_service_state state = svc.services->state(name);

	s->listed = true;
	if (s->io == NULL) {
		changed_to(s, state);
		s->wish = (struct svc_wish){ .up = state != GA_SMTP_SERVICE_DOWN };
		s->gave_up = false;
	} else if (!s->changing && s->state != state) {
		changed_to(s, state);
	}
	if (s->io == NULL && !s->working)
		begin_work(s, open_directory, directory_opened);
	tell_status(s);
}

/* Main loop: at start, and when a configuration has come into force. */
static void
sync_services(void *arg)
{
	struct svc_service *s;

	LIST_FOREACH(s, &svc.all, link)
		s->listed = false;
	svc.services->names(list, NULL);
	LIST_FOREACH(s, &svc.all, link)
		if (!s->listed && s->io != NULL && !s->working)
			close_service(s);
}

/* --- life --- */

static bool
marked_down(const char *name)
{
	char *path = path_of(name);
	bool marked = svc_directory_marked_down(path);

	free(path);
	if (marked)
		ga_log(svc.inst, GA_NOTICE, "GA-SUP-0007", "smtp_service %s: stays down: there is a file `down`", name);
	return marked;
}

static const struct ga_down_marks marks = { sizeof marks, GA_DOWN_MARKS_VERSION, marked_down };

static bool
svc_init(struct ga_inst *inst, const void *conf)
{
	svc.inst = inst;
	LIST_INIT(&svc.all);
	ga_service_provide(inst, GA_DOWN_MARKS_SERVICE, GA_DOWN_MARKS_VERSION, &marks);
	return true;
}

static void
begin_here(struct ga_worker *w, struct ga_post *post)
{
	svc.services->watch(sync_services, NULL);
	sync_services(NULL);
}

static bool
svc_start(struct ga_inst *inst, struct ga_worker *w)
{
	const struct ga_smtp_services *services = ga_service_get(GA_SMTP_SERVICES_SERVICE, GA_SMTP_SERVICES_VERSION);

	if (services == NULL) {
		ga_log(inst, GA_ERR, "GA-SUP-0008", "no module has smtp_service blocks to control");
		return false;
	}
	if (ga_worker_index(w) == 0) {
		svc.services = services;
		svc.post.fn = begin_here;
		ga_loop_post(ga_worker_main(), &svc.post);
	}
	return true;
}

static void
svc_fini(struct ga_inst *inst)
{
	struct svc_service *s;

	if (svc.services != NULL)
		svc.services->watch(NULL, NULL);
	while ((s = LIST_FIRST(&svc.all)) != NULL) {
		LIST_REMOVE(s, link);
		close_service(s);
		ga_timer_free(s->soon);
		free(s->path);
		free(s);
	}
}

static const char *const needs[] = { "smtp_server", NULL };

GA_MODULE(svc, "1.0.0", "", GA_NO_HOOKS, GA_NO_DIRECTIVES,
    .summary = "service directories that svc and svstat of daemontools work on",
    .flags = GA_KEEP_INSTANCE | GA_SERVICE_DIRECTORY,
    .needs = needs,
    .init = svc_init,
    .start = svc_start,
    .fini = svc_fini);
