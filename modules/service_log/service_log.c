/*
 * service_log.c - the module: log directories for whoever logs, and the daemon's own log.
 *
 * Provides the service log_sink.  Takes the daemon's own log (log_output.h) into the directory
 * `greenarrow`.  Its one thread runs from init to fini, so that no line of a start or a stop is
 * lost; hence it is loaded first: then it is also the last to end.
 */
#include "service_log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <greenarrow/conf.h>
#include <greenarrow/json.h>
#include <greenarrow/log_output.h>
#include <greenarrow/run.h>
#include <greenarrow/service/control.h>

#define GA_CF_SELF_ struct service_log_conf
GA_CONF_SCHEMA(service_log_conf, SERVICE_LOG_DIRECTIVES);

#define OWN_LOG "greenarrow"
#define RETRY_MS 1000

static const struct ga_log_sink service = {
	sizeof service, GA_LOG_SINK_VERSION, slog_dir_open, slog_dir_write, slog_dir_begin_with
};

/* --- settings --- */

static bool
service_log_check(const void *conf, struct ga_diag *diag)
{
	const struct service_log_conf *c = conf;
	struct slog_limits_table table;
	bool good = slog_limits_read(c->service_log_limits_file.p, &table, diag);

	slog_limits_free(&table);
	if (c->service_log_max_size > 0 && c->service_log_max_size < SLOG_SIZE_MIN) {
		ga_diag_error(diag, "service_log_max_size", "must be 4096 or more, or 0");
		good = false;
	}
	if (c->service_log_max_files == 1) {
		ga_diag_error(diag, "service_log_max_files", "must be 2 or more, or 0");
		good = false;
	}
	return good;
}

/* The file has been checked; a line that has gone bad since is left out. */
static void
take_settings(const struct service_log_conf *c)
{
	struct slog_limits general = { (uint32_t)c->service_log_max_size, (uint32_t)c->service_log_max_files };
	struct slog_limits_table table;

	slog_limits_read(c->service_log_limits_file.p, &table, NULL);
	slog_dirs_limit(general, &table, c->service_log_memory);
}

/* --- the daemon's own log --- */

/* A line that may have to wait goes to stderr too. */
static bool
take_line(void *arg, enum ga_level level, struct ga_str line)
{
	struct ga_log_dir *d = arg;

	(void)level;
	return slog_dir_write(d, &line, 1) && atomic_load(&d->trouble) == NULL;
}

/* --- status --- */

static struct json_object *
directory_status(struct ga_log_dir *d)
{
	struct json_object *o = json_object_new_object();
	const char *trouble = atomic_load(&d->trouble);

	json_object_object_add(o, "name", json_object_new_string(d->name));
	ga_json_put_int(o, "lines_total", atomic_load(&d->lines));
	ga_json_put_int(o, "bytes_total", atomic_load(&d->octets));
	ga_json_put_int(o, "rotations_total", atomic_load(&d->store.rotations));
	ga_json_put_int(o, "dropped_total", atomic_load(&d->in.dropped_total));
	ga_json_put_int(o, "waiting_bytes", atomic_load(&d->in.waiting));
	ga_json_put_int(o, "max_size", atomic_load(&d->size));
	ga_json_put_int(o, "max_files", atomic_load(&d->files));
	json_object_object_add(o, "trouble", json_object_new_string(trouble != NULL ? trouble : ""));
	return o;
}

static void
add_status(struct ga_inst *inst, struct json_object *status)
{
	struct json_object *list = json_object_new_array();

	(void)inst;
	for (struct ga_log_dir *d = slog_dirs_first(); d != NULL; d = slog_dirs_next(d))
		json_object_array_add(list, directory_status(d));
	json_object_object_add(status, "log_directories", list);
}

/* --- life --- */

static bool
service_log_init(struct ga_inst *inst, const void *conf)
{
	take_settings(conf);
	if (!slog_writer_start(inst, RETRY_MS)) {
		ga_log(inst, GA_ERR, "GA-SLOG-0004", "no thread to write logs with: %s", strerror(errno));
		return false;
	}
	ga_service_provide(inst, GA_LOG_SINK_SERVICE, GA_LOG_SINK_VERSION, &service);
	ga_status_register(inst, add_status);
	ga_log_output(take_line, slog_dir_open(GA_STR(OWN_LOG), 0, NULL));
	slog_status_init(inst);
	slog_status_every(((const struct service_log_conf *)conf)->service_log_status);
	return true;
}

static bool
service_log_reload(struct ga_inst *inst, const void *conf)
{
	(void)inst;
	take_settings(conf);
	slog_status_every(((const struct service_log_conf *)conf)->service_log_status);
	return true;
}

static void
service_log_fini(struct ga_inst *inst)
{
	ga_log_output(NULL, NULL);
	if (slog_writer_stop())
		slog_dirs_free();
	else
		ga_log(inst, GA_ERR, "GA-SLOG-0005", "the disk of log directories does not answer: what was not written is lost");
}

GA_MODULE(service_log, "1.0.0", "", GA_NO_HOOKS, SERVICE_LOG_DIRECTIVES,
    .summary = "log directories as multilog keeps them, and the daemon's own log",
    .conf = &service_log_conf_schema,
    .flags = GA_KEEP_INSTANCE,
    .check = service_log_check,
    .init = service_log_init,
    .reload = service_log_reload,
    .fini = service_log_fini);
