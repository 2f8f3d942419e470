/*
 * conf.h - read and check a greenarrow.conf
 *
 * The same code for the daemons and for greenarrow_config, so that what was
 * validated is not refused at start.  No module code runs here.
 */
#ifndef GAC_CONF_CONF_H
#define GAC_CONF_CONF_H

#include <sys/types.h>

#include "conf/diag.h"
#include "conf/manifest.h"

struct gac_conf;

struct gac_conf_options {
	const char *file;		/* to read; or the name of `text` */
	const char *text;		/* not NULL: this text in place of the file */
	size_t text_size;
	/* NULL: as installed.  The file's own directives come first. */
	const char *control_directory, *module_directory, *queue_directory, *log_directory,
	    *run_directory;
	const char *build_id;		/* NULL: this program's */
	/* Manifests of modules that are linked into the program, or of tests. */
	const struct gac_manifest_text *builtin;
	size_t nbuiltin;
	const char *const *preload;	/* names loaded without load_module; ends with NULL */
	bool no_files;			/* fuzzing: look at no file and no user, include nothing */
	bool tables_only;		/* modules and their directives; nothing else is checked */
};

/*
 * NULL when there was an error: all of them are in diag.  Warnings may be there
 * in both cases.  options may go away afterwards.
 */
struct gac_conf *gac_conf_load(const struct gac_conf_options *, struct ga_diag *) GA_NODISCARD;
void gac_conf_free(struct gac_conf *);

/* The run_directory that a file names, or the installed one: looked for without
 * checking anything else, so that a daemon can be found whose file has an error by
 * now.  NULL: the file cannot be read. */
const char *gac_conf_run_directory(struct ga_pool *, const char *file);
/* The same for its log_directory. */
const char *gac_conf_log_directory(struct ga_pool *, const char *file);
/* The same for its control_directory. */
const char *gac_conf_control_directory(struct ga_pool *, const char *file);

/* The modules to load, in order, without the core itself. */
size_t gac_conf_modules(const struct gac_conf *);
const struct gac_manifest *gac_conf_manifest(const struct gac_conf *, size_t i);
const char *gac_conf_module_name(const struct gac_conf *, size_t i);
/* Where its load_module line is: for messages of the loader. */
const struct gac_pos *gac_conf_module_pos(const struct gac_conf *, size_t i);
/* Where the value of a module's directive in the general block is written (of a list
 * its last statement); false: nowhere. */
bool gac_conf_directive_pos(const struct gac_conf *, size_t i, const char *directive, struct gac_pos *);

#endif
