{#
  What readers see of a dataset that is kept as builds: the rows of the build that the newest seal of their bucket names.

  table: the table of builds; bucket: SQL of the bucket that `seals` keeps for a row
#}
{% macro published_rows(dataset, table, bucket) %}
SELECT * FROM {{ table }}
WHERE ({{ bucket }}, network, build_id) IN (
    SELECT bucket, network, build_id FROM ({{ published_builds(dataset) }})
)
{% endmacro %}
