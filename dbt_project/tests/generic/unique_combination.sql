{# No two rows agree in all of these columns. #}
{% test unique_combination(model, columns) %}
SELECT {{ columns | join(', ') }}, count() AS copies
FROM {{ model }}
GROUP BY {{ columns | join(', ') }}
HAVING copies > 1
{% endtest %}
