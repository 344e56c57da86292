"""One import that makes code written for Feast run on Likewise.

After ``import likewise.as_feast``, ``from feast import …`` yields Likewise's objects in this program, whether or not
Feast is installed. Write it at the top of a program, above its imports from ``feast``. ``likewise run script.py`` does
the same for a program that is not to be changed.

Example:
    >>> import likewise.as_feast
    >>> from feast import Entity
    >>> Entity.__module__
    'likewise.define.entity'
"""

from likewise.define.feast import install

install()
