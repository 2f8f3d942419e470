/*
 * greenarrow_config.h - the commands of greenarrow_config, shared by its files
 */
#ifndef GREENARROW_CONFIG_H
#define GREENARROW_CONFIG_H

#include "conf/conf_tree.h"

/* What was given on the command line. */
struct config_args {
	const char *argv0;
	const char *virtual_mta, *domain, *mx, *smtp_service, *module_directory;
	bool json, man;
};

/* Makes the modules known that are linked into greenarrowd (a static build).
 * The memory of options is the pool's. */
void config_builtin(struct ga_pool *, struct gac_conf_options *);

/* Reads and checks a file; errors and warnings go to stderr. */
struct gac_conf *config_load(const char *file, const char *module_directory);

/* Exit codes. */
int config_show(const struct config_args *, const char *file);
int config_directives(const struct config_args *, const char *file, char **modules, int n);

/* "mta_id  as written" of a setting; secrets as ***.  In the pool. */
struct ga_str config_written(struct ga_pool *, const struct gac_decl *, const struct gac_setting *);

#endif
