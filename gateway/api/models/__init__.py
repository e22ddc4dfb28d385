"""Models of the API's success responses: the OpenAPI document and the reference page are generated from them.

Responses are not built with these models, which would cost time for each row; tests check every response against its
model. The fields named here are the API: a column that is added to a view does not appear in it.
"""
